"""Twins of an unmodified SDK client through a hub and iothub, while the link between them comes and goes.

The whole system on loopback addresses: device SDK -> hub -> relay -> iothub.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE_S = 30.0
# The SDK asks for a version of TLS in a way that Python has grown out of.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    settings = {"CloudOperationTimeoutSecs": "3", "ReportedPropertiesSyncFrequencySecs": "1"}
    routes = {
        "up": "FROM /messages/* INTO $upstream",
        "changes": "FROM /twinChangeNotifications INTO BrokeredEndpoint('/modules/mod/inputs/changes')",
    }
    options = StackOptions(
        routes=routes,
        devices=("leaf",),
        modules=("mod",),
        uplink_amqp_port=0,
        uplink_https_port=0,
        hub_settings=settings,
    )
    async with Stack(options) as found:
        yield found


class SdkClient:
    """A client of the SDK that keeps the desired patches it gets."""

    def __init__(self, stack: Stack, identity: str) -> None:
        # Untyped, and slow to import: only here.
        from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

        kind: Any = IoTHubModuleClient if "/" in identity else IoTHubDeviceClient
        name = identity.rpartition("/")[2]
        self.sdk: Any = kind.create_from_connection_string(
            stack.connection_string(name), server_verification_cert=stack.authority.file.read_text()
        )
        self.patches: list[dict[str, Any]] = []

    async def __aenter__(self) -> SdkClient:
        loop = asyncio.get_running_loop()

        async def received(patch: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self.patches.append, patch)

        await self.sdk.connect()
        self.sdk.on_twin_desired_properties_patch_received = received
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sdk.shutdown()

    async def patch(self) -> dict[str, Any]:
        """The next desired patch."""
        await until(lambda: bool(self.patches))
        return self.patches.pop(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it comes from another process
            await asyncio.sleep(0.02)


async def reported_is(stack: Stack, device_id: str, module_id: str | None, wanted: dict[str, Any]) -> None:
    """Waits until iothub has these reported properties."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            twin = await stack.api.twin(device_id, module_id)
            reported = twin["properties"]["reported"]
            if {name: value for name, value in reported.items() if name[0] != "$"} == wanted:
                return
            await asyncio.sleep(0.05)


async def test_t_023_a_twin_online_offline_and_online_again(stack: Stack) -> None:
    async with SdkClient(stack, "leaf") as leaf:
        await stack.api.update_desired("leaf", None, {"interval": 5})
        assert (await leaf.sdk.get_twin())["desired"]["interval"] == 5
        await leaf.sdk.patch_twin_reported_properties({"interval": 5, "state": {"on": True}})
        await reported_is(stack, "leaf", None, {"interval": 5, "state": {"on": True}})
        await stack.api.update_desired("leaf", None, {"interval": 6})
        # The first change may have come as a patch, too: the client was subscribed already.
        while (await leaf.patch())["interval"] != 6:
            pass

        await stack.relay.cut()
        await leaf.sdk.patch_twin_reported_properties({"interval": 6, "state": None})
        await leaf.sdk.patch_twin_reported_properties({"state": {"off": 1}})
        twin = await leaf.sdk.get_twin()
        assert twin["desired"]["interval"] == 6
        assert {**twin["reported"], "$version": 0} == {"interval": 6, "state": {"off": 1}, "$version": 0}
        for interval in (7, 8):
            await stack.api.update_desired("leaf", None, {"interval": interval, "extra": [interval]})
        assert leaf.patches == []

        await stack.relay.restore()
        missed = await leaf.patch()
        assert (missed["interval"], missed["extra"]) == (8, [8])
        await reported_is(stack, "leaf", None, {"interval": 6, "state": {"off": 1}})
        assert (await leaf.sdk.get_twin())["desired"]["$version"] == missed["$version"]
        assert leaf.patches == []


async def test_what_a_module_reported_offline_survives_a_killed_hub(stack: Stack) -> None:
    gateway = stack.options.edge_device
    await stack.relay.cut()
    async with SdkClient(stack, f"{gateway}/mod") as module:
        await module.sdk.patch_twin_reported_properties({"a": 1, "b": {"c": 2}})
    await stack.hub.kill()
    await stack.hub.start()
    async with SdkClient(stack, f"{gateway}/mod") as module:
        await module.sdk.patch_twin_reported_properties({"b": {"c": None, "d": 3}})
        assert (await module.sdk.get_twin())["reported"] == {"a": 1, "b": {"d": 3}}
        await stack.relay.restore()
        await reported_is(stack, gateway, "mod", {"a": 1, "b": {"d": 3}})


async def test_t_013_a_module_hears_of_what_a_device_reported(stack: Stack) -> None:
    heard: list[Any] = []
    loop = asyncio.get_running_loop()

    async def received(message: Any) -> None:
        loop.call_soon_threadsafe(heard.append, message)

    async with (
        SdkClient(stack, f"{stack.options.edge_device}/mod") as module,
        SdkClient(stack, "leaf") as leaf,
    ):
        module.sdk.on_message_received = received
        await leaf.sdk.patch_twin_reported_properties({"a": 1})
        await until(lambda: bool(heard))
    assert (heard[0].input_name, json.loads(heard[0].data)) == ("changes", {"a": 1})


async def test_the_metrics_count_twins(stack: Stack) -> None:
    async with SdkClient(stack, "leaf") as leaf:
        await leaf.sdk.get_twin()
        await leaf.sdk.patch_twin_reported_properties({"a": 1})
        await reported_is(stack, "leaf", None, {"a": 1})
    page = await stack.metrics_text()
    assert page is not None
    for name, *labels in (
        ("gettwin_total", 'source="upstream"', 'id="leaf"'),
        ("reported_properties_total", 'target="edge_hub"', 'id="leaf"'),
        ("reported_properties_total", 'target="upstream"', 'id="leaf"'),
        ("gettwin_duration_seconds_count", 'source="upstream"'),
    ):
        lines = [line for line in page.splitlines() if line.startswith(f"edgehub_{name}{{")]
        assert any(all(label in line for label in labels) for line in lines), (name, lines)
