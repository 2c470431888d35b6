"""Cloud-to-device messages to devices on MQTT at iothub itself (row 54)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from iothub.c2d.model import C2dMessage
from testkit.iothub_devices import SdkClient, authority, connected, register, serving, until
from testkit.wire import PUBLISH, SUBACK, puback_packet, subscribe_packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iothub.server import HubServer

# The SDK asks for a version of TLS in a way that Python has grown out of, and leaves sockets open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    async with serving(tmp_path) as made:
        await register(made)
        yield made


async def send(server: HubServer, *bodies: bytes) -> None:
    assert server.c2d is not None
    for body in bodies:
        await server.c2d.send("d1", C2dMessage(body, message_id="m1", properties={"k": "ü /"}))


async def waiting(server: HubServer) -> int:
    assert server.c2d is not None
    return (await server.c2d.counts(["d1"])).get("d1", 0)


async def all_settled(server: HubServer) -> None:
    async with asyncio.timeout(20):
        while True:
            if await waiting(server) == 0:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websocket"])
async def test_an_sdk_client_gets_messages(server: HubServer, websockets: bool) -> None:
    got: list[Any] = []
    loop = asyncio.get_running_loop()

    async def received(message: Any) -> None:
        loop.call_soon_threadsafe(got.append, message)

    await send(server, b"0")
    async with SdkClient(authority(server), websockets=websockets) as device:
        await asyncio.to_thread(setattr, device.sdk, "on_message_received", received)
        await send(server, b"1", b"2")
        await until(lambda: len(got) == 3)
        await all_settled(server)
    assert [message.data for message in got] == [b"0", b"1", b"2"]
    assert got[0].message_id == "m1"
    assert got[0].custom_properties == {"k": "ü /"}


async def test_row_54_messages_of_the_time_away_come_without_subscribe(server: HubServer) -> None:
    ca_file = authority(server)

    def subscribe() -> None:
        with connected(ca_file, clean=False) as client:
            client.send(subscribe_packet("devices/d1/messages/devicebound/#"))
            assert client.expect(SUBACK).body[2] == 1

    def take(acknowledge: int) -> list[bytes]:
        bodies = []
        with connected(ca_file, clean=False) as client:
            for number in range(2):
                _, packet_id, body = client.expect(PUBLISH).message()
                bodies.append(body)
                if number < acknowledge:
                    client.send(puback_packet(packet_id))
            return bodies

    await asyncio.to_thread(subscribe)
    await send(server, b"a", b"b")
    assert await asyncio.to_thread(take, 0) == [b"a", b"b"]
    assert sorted(await asyncio.to_thread(take, 2)) == [b"a", b"b"]
    await all_settled(server)
