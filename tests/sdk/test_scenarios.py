"""One list of scenarios with unmodified SDKs, over MQTT and MQTT over WebSocket, at iothub itself and
through a hub: the same expectations in both places.

The Node SDK is installed by `make setup-node`; without it its scenarios are skipped, and say so.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from sdk.drivers import NODE_MODULES, PATIENCE_S, Driver
from sdk.places import Place, cloud_of, make_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgehub.demo.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

NODE = pytest.param(
    "node",
    marks=pytest.mark.skipif(
        not NODE_MODULES.exists() or shutil.which("node") is None,
        reason="the Node SDK is not installed: run make setup-node",
    ),
)
every_client = pytest.mark.parametrize(
    ("sdk", "ws"),
    [
        pytest.param(sdk, ws, marks=marks, id=f"{sdk}-{'ws' if ws else 'mqtt'}")
        for sdk, marks in (("python", ()), ("node", NODE.marks))
        for ws in (False, True)
    ],
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with await make_stack() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["direct", "through-hub"])
async def place(stack: Stack, request: pytest.FixtureRequest) -> Place:
    return Place(stack, request.param == "through-hub", cloud_of(stack))


@asynccontextmanager
async def opened(place: Place, sdk: str, name: str, **more: Any) -> AsyncIterator[Driver]:
    """A client that is connected."""
    ws = more.pop("ws")
    async with Driver(sdk) as driver:
        await driver.order("open", **place.order(name, ws=ws), **more)
        yield driver
        await driver.order("close")


async def telemetry(place: Place, device: str, count: int) -> list[tuple[str, str, dict[str, str]]]:
    """Bodies, message ids and properties of the first events of a device, duplicates left out."""
    found: dict[str, tuple[str, str, dict[str, str]]] = {}
    async with asyncio.timeout(PATIENCE_S):
        async for event in place.events(device):
            found.setdefault(event.message_id, (event.body, event.message_id, dict(event.properties)))
            if len(found) == count:
                break
    return list(found.values())


async def reported(place: Place, device: str, want: dict[str, Any]) -> None:
    """Waits until iothub has these reported properties."""
    found: dict[str, Any] = {}
    for _ in range(int(PATIENCE_S * 5)):
        twin = await place.stack.api.twin(device)
        found = {name: value for name, value in twin["properties"]["reported"].items() if name[0] != "$"}
        if found == want:
            return
        await asyncio.sleep(0.2)
    assert found == want


@every_client
async def test_telemetry(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws) as client:
        for number in range(3):
            properties = {"n": str(number), "odd name": "a&b=c/d \N{SNOWMAN}"}
            await client.order(
                "send", body=f"message {number}", message_id=f"id/{number}", properties=properties
            )
    assert await telemetry(place, device, 3) == [
        (f"message {number}", f"id/{number}", {"n": str(number), "odd name": "a&b=c/d \N{SNOWMAN}"})
        for number in range(3)
    ]


@every_client
async def test_rows_57_and_58_twin(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws) as client:
        twin = await client.order("twin")
        assert twin["reported"].get("$version") == 1
        await client.order("report", patch={"state": {"on": True}, "list": [1, 2], "gone": 1})
        await client.order("report", patch={"gone": None, "state": {"level": 3}})
        await reported(place, device, {"state": {"on": True, "level": 3}, "list": [1, 2]})
        await place.stack.api.update_desired(device, None, {"interval": 5, "nested": {"a": "b"}})
        while (patch := (await client.heard("desired"))["patch"]).get("interval") != 5:
            pass  # Node tells what it reads as a first patch.
        assert patch["nested"] == {"a": "b"}
        version = patch["$version"]
        await place.stack.api.update_desired(device, None, {"nested": None})
        patch = (await client.heard("desired"))["patch"]
        assert (patch["nested"], patch["$version"]) == (None, version + 1)
        twin = await client.order("twin")
        assert twin["desired"]["interval"] == 5
        assert "nested" not in twin["desired"]
        assert twin["reported"]["state"] == {"on": True, "level": 3}


@every_client
async def test_rows_59_and_111_methods_from_the_cloud(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws) as client:
        await client.order("listen", methods=True)
        for name, payload in (("reset", {"delay": [1, None]}), ("again", None)):
            answer = await place.invoke(device, name, payload)
            assert answer == {"status": 207, "payload": {"method": name, "payload": payload}}


@every_client
async def test_row_54_cloud_to_device(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws) as client:
        await client.order("listen", messages=True)
        await place.send(device, "wake up", iothub_messageid="m/1", iothub_app_level="very high")
        message = await client.heard("message")
        assert message["body"] == "wake up"
        assert message["message_id"] == "m/1"
        assert message["properties"]["level"] == "very high"
    await place.send(device, "while away")
    # Who listens only afterwards may be too late: what waited comes with the restored session.
    async with opened(place, sdk, device, ws=ws, messages=True) as client:
        assert (await client.heard("message"))["body"] == "while away"
        assert client.nothing_heard("message")


@every_client
async def test_the_server_is_killed_and_comes_back(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws) as client:
        await client.order("listen", messages=True, methods=True)
        await client.order("twin")
        await client.order("send", body="before", message_id="1")
        await place.restart()
        await client.order("send", body="after", message_id="2")
        assert [body for body, _, _ in await telemetry(place, device, 2)] == ["before", "after"]
        await place.send(device, "hello again")
        assert (await client.heard("message"))["body"] == "hello again"
        assert (await place.invoke(device, "reset", 1))["payload"]["payload"] == 1
        await client.order("report", patch={"back": True})
        await reported(place, device, {"back": True})


@every_client
async def test_tokens_are_renewed(place: Place, sdk: str, ws: bool) -> None:
    device = await place.device()
    async with opened(place, sdk, device, ws=ws, token_ttl_s=30) as client:
        await client.order("listen", messages=True)
        for number in range(8):
            await client.order("send", body=f"{number}", message_id=f"{number}")
            await asyncio.sleep(1)
        await place.send(device, "still there")
        assert (await client.heard("message"))["body"] == "still there"
    bodies = [body for body, _, _ in await telemetry(place, device, 8)]
    assert bodies == [str(number) for number in range(8)]


# What only a hub has


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub(stack: Stack) -> Place:
    return Place(stack, through_hub=True, cloud=cloud_of(stack))


@every_client
async def test_the_link_upstream_is_cut(hub: Place, sdk: str, ws: bool) -> None:
    device = await hub.device()
    async with opened(hub, sdk, device, ws=ws) as client:
        await client.order("listen", messages=True)
        await client.order("twin")
        await hub.stack.relay.cut()
        try:
            for number in range(5):
                await client.order("send", body=f"{number}", message_id=f"{number}")
            await client.order("report", patch={"offline": True})
            assert (await client.order("twin"))["reported"]["offline"] is True
            await hub.send(device, "for later")
        finally:
            await hub.stack.relay.restore()
        assert (await client.heard("message"))["body"] == "for later"
        await reported(hub, device, {"offline": True})
        bodies = [body for body, _, _ in await telemetry(hub, device, 5)]
        assert bodies == [str(number) for number in range(5)]


@every_client
async def test_row_64_outputs_and_inputs(hub: Place, sdk: str, ws: bool) -> None:
    async with opened(hub, sdk, "receiver", ws=ws) as receiver, opened(hub, sdk, "sender", ws=ws) as sender:
        await receiver.order("listen", inputs=True)
        for number in range(3):
            await sender.order(
                "send",
                body=f"reading {number}",
                message_id=f"{number}",
                properties={"n": f"{number}"},
                output="out",
            )
        for number in range(3):
            heard = await receiver.heard("input")
            assert (heard["input"], heard["body"], heard["properties"]["n"]) == (
                "in",
                f"reading {number}",
                f"{number}",
            )


@every_client
async def test_a_module_calls_a_device(hub: Place, sdk: str, ws: bool) -> None:
    device = await hub.device()
    async with (
        opened(hub, sdk, device, ws=ws) as client,
        opened(hub, sdk, "sender", ws=ws, edge=True) as module,
    ):
        await client.order("listen", methods=True)
        answer = await module.order("invoke", device=device, name="reset", payload={"x": 1})
        assert answer == {"status": 207, "payload": {"method": "reset", "payload": {"x": 1}}}
