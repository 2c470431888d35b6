"""What of the agent speaks to a hub, on the real `iothub`: identities, deployment, reported state."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.cloud.service import Cloud, CloudKeys, CloudSettings
from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.errors import RegistryRefusedError
from edgeagent.identity.manager import IdentityManager
from edgeagent.identity.registry import HubRegistry, RegistrySettings
from edgeagent.link.client import UpstreamLink
from edgeagent.link.tls import upstream_context
from edgeagent.link.tokens import key_signer
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.model.module import Deployment, Module
from edgeagent.report.outcome import SUCCESS
from edgeagent.report.reporter import Reporter
from edgeagent.report.snapshot import BuildInfo, Platform, Snapshot
from edgeagent.report.state import reported_state
from edgeagent.source.desired import Desired, DesiredBox
from edgeagent.source.twin_source import TwinSource
from iothub.methods.service import parse_invocation
from testkit.agent_hub import (
    AGENT,
    HOST,
    Heard,
    connected,
    register_edge_device,
    running_link,
    set_agent_desired,
    settings_for,
    start_hub,
)
from testkit.connect_proxy import ConnectProxy
from testkit.iothub_devices import KEY, OTHER_KEY, authority, until
from unit.edgeagent.report.test_keeper import Looked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iothub.server import HubServer

WRONG = base64.b64encode(bytes(32)).decode()
MASTER = bytes(range(32))


async def derive(module_id: str, generation_id: str) -> tuple[str, str]:
    """As in agent spec 7.3."""

    def key(which: str) -> str:
        digest = hmac.digest(MASTER, f"{module_id}:{generation_id}:{which}".encode(), hashlib.sha256)
        return base64.b64encode(digest).decode()

    return key("primary"), key("secondary")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    made = await start_hub(tmp_path / "hub")
    await register_edge_device(made)
    yield made
    await made.stop()


@pytest.fixture
async def registry(server: HubServer) -> AsyncIterator[HubRegistry]:
    async with registry_as(server, KEY) as made:
        yield made


def registry_as(server: HubServer, key: str, proxy: str = "") -> HubRegistry:
    tls = upstream_context(authority(server).read_text())
    settings = RegistrySettings(HOST, HOST, "e1", tls, port=server.https_port, proxy=proxy)
    return HubRegistry(settings, key_signer(key))


def manager(registry: HubRegistry, folder: Path) -> IdentityManager:
    return IdentityManager(registry, derive, IdentityCache(folder / "identities.json", HOST, "e1"))


async def test_x02_to_x05_identities_of_a_deployment(
    server: HubServer, registry: HubRegistry, tmp_path: Path
) -> None:
    """Rows X02 to X05."""
    identities = manager(registry, tmp_path)
    await identities.provision_agent()
    first = await identities.ensure((AGENT, "$edgeHub", "m1", "m2"))
    assert not first.faults
    assert set(first.by_id) == {AGENT, "$edgeHub", "m1", "m2"}
    for module_id in ("$edgeHub", "m1", "m2"):
        found = await server.registry.module("e1", module_id)
        assert found is not None
        assert found.authentication.keys == await derive(module_id, found.generation_id)
        assert first.generation_id(module_id) == found.generation_id
    module = await server.registry.module("e1", "m1")
    assert module is not None
    assert module.managed_by == "IotEdge"

    second = await identities.ensure((AGENT, "m1"), ("m2", "$edgeHub"))
    assert not second.faults
    left = {module.module_id for module in await server.registry.modules("e1")}
    assert left == {AGENT, "$edgeHub", "m1"}


async def test_what_the_hub_refuses(server: HubServer, registry: HubRegistry) -> None:
    assert await registry.module("none") is None
    await registry.delete("none")
    with pytest.raises(RegistryRefusedError, match="401"):
        await registry.delete("$edgeHub")
    with pytest.raises(RegistryRefusedError, match="400"):
        await registry.create("not a name")
    made = await registry.create("m")
    assert (await registry.create("m")).generation_id == made.generation_id
    async with registry_as(server, WRONG) as stranger:
        with pytest.raises(RegistryRefusedError, match="401"):
            await stranger.modules()


async def test_through_a_proxy(server: HubServer) -> None:
    async with ConnectProxy().running() as proxy, registry_as(server, KEY, proxy.url) as registry:
        assert {identity.module_id for identity in await registry.modules()} == {AGENT, "$edgeHub"}
        assert proxy.asked == [f"{HOST}:{server.https_port}"]
        assert "dXNlcjpwYXNz" in proxy.headers[0]


async def test_o09_the_agent_provisions_itself(
    server: HubServer, registry: HubRegistry, tmp_path: Path
) -> None:
    """Row O09: refused with its keys it gives the hub others, and is let in."""
    identities = manager(registry, tmp_path)
    found = await registry.module(AGENT)
    assert found is not None
    primary, _ = await derive(AGENT, found.generation_id)
    async with running_link(settings_for(server), primary) as (link, heard):
        await until(lambda: bool(heard.refusals))
        await identities.provision_agent()
        await connected(link)


async def test_deployment_and_reported_state(server: HubServer) -> None:
    """From the twin to a report, and again after the hub's side was wiped."""
    await set_agent_desired(server, {"schemaVersion": "1.1", "modules": {"m": {"a": 1}}})
    heard, box = Heard(), DesiredBox()
    link = UpstreamLink(settings_for(server), key_signer(OTHER_KEY), heard.serve)
    reporter = Reporter(link.report)
    source = TwinSource(link, box, reporter.sync)
    link.listen(source)
    jobs = [asyncio.create_task(job.run()) for job in (link, source)]
    try:
        first = await box.first(20.0)
        assert first == Desired(2, {"schemaVersion": "1.1", "modules": {"m": {"a": 1}}})
        await set_agent_desired(server, {"modules": {"m": None, "n": {}}})
        await until(lambda: box.latest() != first)
        assert box.latest() == Desired(3, {"schemaVersion": "1.1", "modules": {"n": {}}})

        for count in (3, 60):
            snapshot = snapshot_of(count)
            assert await reporter.report(snapshot, 0.0)
            assert len((await reported(server))["modules"]) == count
        assert await reporter.report(snapshot_of(3), 0.0)
        assert await reported(server) == reported_state(snapshot_of(3))
        assert await reporter.shutdown(0.0)
        assert (await reported(server))["lastDesiredStatus"]["code"] == 406
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)


def snapshot_of(count: int) -> Snapshot:
    """More modules than fit with all that is known of them."""
    names = ["edgeAgent", "edgeHub", *(f"m{number}" for number in range(count))]
    current = {name: CurrentModule(name, Module(name, "i:1").image, RuntimeStatus.RUNNING) for name in names}
    details = {name: "x" * 900 for name in names if name.startswith("m")}
    return Snapshot(Platform("linux", "x", "1"), BuildInfo("1"), 3, SUCCESS, current=current, details=details)


async def reported(server: HubServer) -> dict[str, Any]:
    view = (await server.twins.get("e1", AGENT)).device_view()
    return {name: value for name, value in view["reported"].items() if not name.startswith("$")}


async def test_the_whole(server: HubServer, tmp_path: Path) -> None:
    """From nothing but the key of the device: identities, deployment, methods, reports, and the last word."""
    await set_agent_desired(server, {"schemaVersion": "1.1"})
    link = settings_for(server)
    settings = CloudSettings(
        link, tmp_path / "state", Platform("linux", "x", "1"), BuildInfo("1"), registry_port=server.https_port
    )
    woken = asyncio.Event()

    async def answer(name: str, payload: bytes) -> tuple[int, Any]:
        return 200, {name: json.loads(payload)}

    async with Cloud(settings, CloudKeys(key_signer(KEY), derive), answer, woken.set) as cloud:
        task = asyncio.create_task(cloud.run())
        assert await cloud.desired.first(20.0) == Desired(2, {"schemaVersion": "1.1"})
        assert woken.is_set()

        cloud.identities.want(Deployment({"m": Module("m", "i:1")}), ())
        await until(lambda: cloud.identities.known() >= {"m", AGENT})
        found = await server.registry.module("e1", "m")
        assert found is not None
        assert cloud.identities.generation_id("m") == found.generation_id

        invocation = parse_invocation(b'{"methodName": "ping", "payload": [1]}')
        answered = await server.amqp.methods.invoke(("e1", AGENT), invocation)
        assert json.loads(answered.payload) == {"ping": [1]}

        cloud.reports.publish(Looked(2))
        async with asyncio.timeout(20):
            while (await reported(server)).get("lastDesiredVersion") != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    told = await reported(server)
    assert told["lastDesiredStatus"] == {"code": 406, "description": "Agent is not running"}
    assert told["modules"]["m"]["runtimeStatus"] == "unknown"

    async with Cloud(settings, CloudKeys(key_signer(WRONG), derive), answer, woken.set) as offline:
        assert offline.identities.known() == {"m", AGENT}
