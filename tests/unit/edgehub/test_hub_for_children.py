"""One run of a hub with edge devices below it: which routes are there, and when (heads spec 3, 4.6)."""

from __future__ import annotations

import dataclasses
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.identity.scope_wire import encode_scope_page
from testkit.children import FAMILY, Answer, ChildBench, Door, FakeRegistry
from testkit.clock import ManualClock
from testkit.https import HOST, TrustedServer
from unit.edgehub.test_hub_server import FakeParent, alone, connected, engines, running, server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgehub.app import HubServer
    from edgehub.upstream_parts import ParentHub
    from unit.edgehub.test_hub_server import Engines

__all__ = ["alone", "connected", "engines"]

LISTING = "/devices/edge2/modules/$edgeHub/devicesAndModulesInTargetDeviceScope"
MODULES = "/devices/edge2/modules?api-version=2017-11-08-preview"


class NestedParent(FakeParent):
    """A parent hub with a family below this device, and a registry."""

    def __init__(self) -> None:
        super().__init__()
        self.scope.put(*FAMILY)
        self.registry = FakeRegistry()

    def connect(self, *parts: Any) -> ParentHub:
        return dataclasses.replace(super().connect(*parts), registry=self.registry)


@pytest.fixture
def https(tmp_path: Path) -> TrustedServer:
    return TrustedServer(tmp_path / "certificates")


def settings_of(https: TrustedServer) -> dict[str, str]:
    return {
        "EdgeHubDevServerCertificateFile": str(https.files.chain),
        "EdgeHubDevServerPrivateKeyFile": str(https.files.key),
        "httpSettings__enabled": "true",
        "httpSettings__host": HOST,
        "httpSettings__port": "0",
        "mqttSettings__host": HOST,
        "mqttSettings__port": "0",
    }


@asynccontextmanager
async def door_of(hub: HubServer, https: TrustedServer) -> AsyncIterator[Door]:
    """Calls to the HTTP head of a running hub."""
    bench = ChildBench()
    bench.clock = ManualClock(time.time())
    async with running(hub), https.session() as session:
        yield Door(bench, session, f"https://{HOST}:{hub.ports.http}")


async def both(door: Door) -> tuple[Answer, Answer]:
    """A question for the scope, and one for the registry."""
    listing = await door.call("POST", LISTING, {"authChain": "edge2"})
    return listing, await door.call("GET", MODULES, who="edge2")


async def test_h_011_and_h_016_a_hub_with_a_parent_serves_children(
    connected: dict[str, str], engines: Engines, https: TrustedServer
) -> None:
    parent = NestedParent()
    hub = server(connected | settings_of(https), engines, parent)
    async with door_of(hub, https) as door:
        listing, modules = await both(door)
        assert "deep/m" in listing.names()
        assert (modules.status, modules.json) == (200, {"moduleId": "m"})
        assert parent.registry.taken() == [
            ("POST", "getModulesOnTargetDevice", {"authChain": "edge2;edge1"}, None)
        ]


@pytest.fixture
def family_in_a_file(alone: dict[str, str]) -> dict[str, str]:
    Path(alone["IdentitiesFile"]).write_bytes(encode_scope_page(FAMILY))
    return alone


async def test_a_hub_without_a_parent_knows_the_scope_and_no_registry(
    family_in_a_file: dict[str, str], engines: Engines, https: TrustedServer
) -> None:
    async with door_of(server(family_in_a_file | settings_of(https), engines), https) as door:
        listing, modules = await both(door)
        assert "edge3" in listing.names()
        assert (modules.status, modules.json) == (500, {"errorMessage": "this edge device has no parent hub"})


@pytest.mark.parametrize("changed", [{"NestedEdgeEnabled": "false"}, {"mqttSettings__enabled": "false"}])
async def test_a_hub_that_takes_nobody_on_behalf_of_others_has_no_such_routes(
    connected: dict[str, str], engines: Engines, https: TrustedServer, changed: dict[str, str]
) -> None:
    hub = server(connected | settings_of(https) | changed, engines, NestedParent())
    async with door_of(hub, https) as door:
        for answer in await both(door):
            assert (answer.status, answer.json) == (404, None)


async def test_http_settings_enabled_false_opens_no_port(
    connected: dict[str, str], engines: Engines, https: TrustedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = connected | settings_of(https) | {"httpSettings__enabled": "false"}
    async with running(server(settings, engines, NestedParent())) as task:
        assert not task.done()
    assert "HTTP head is listening" not in caplog.text
