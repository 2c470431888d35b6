"""Devices on MQTT while iothub is stopped, killed and started again."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from testkit.iothub_devices import (
    SdkClient,
    ServingProcess,
    authority,
    connected,
    events,
    register,
    set_desired,
    start,
    until,
)
from testkit.wire import PUBACK, publish_packet

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = "devices/d1/messages/events/"
KILLED_AFTER = 200
# The SDK asks for a version of TLS in a way that Python has grown out of, and leaves sockets open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
async def ca_file(tmp_path: Path) -> Path:
    """Of a hub that knows the devices; it does not run."""
    server = await start(tmp_path, mqtt_port=None)
    await register(server)
    await server.stop()
    return authority(server)


@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websocket"])
async def test_a_client_comes_back(tmp_path: Path, ca_file: Path, websockets: bool) -> None:
    """By itself, and it does not subscribe again: its session is here."""
    with await asyncio.to_thread(ServingProcess, tmp_path) as serving:
        async with SdkClient(ca_file, websockets=websockets) as device:
            await device.follow()
            await device.sdk.send_message("before")
            assert await asyncio.to_thread(serving.end) == 0
            await until(lambda: not device.sdk.connected)
            again = await start(tmp_path)
            try:
                await until(lambda: bool(device.sdk.connected))
                await device.sdk.send_message("after")
                assert [event.body for event in await events(again, 2)] == [b"before", b"after"]
                await set_desired(again, {"a": 1})
                assert await device.patch() == {"a": 1, "$version": 2}
            finally:
                await device.close()
                await again.stop()


async def test_what_was_acknowledged_before_a_kill_is_in_the_log(tmp_path: Path, ca_file: Path) -> None:
    """In the order of the device; what was on its way between engine and log may be there twice."""

    def publish_until_killed(serving: ServingProcess) -> int:
        number = 0
        with connected(ca_file) as client:
            while True:
                number += 1
                client.send(publish_packet(EVENTS, b"%d" % number, number))
                got = client.receive()
                if got is None:
                    return number - 1
                assert (got.kind, got.acked) == (PUBACK, number)
                if number == KILLED_AFTER:
                    serving.process.send_signal(signal.SIGKILL)

    with await asyncio.to_thread(ServingProcess, tmp_path) as serving:
        acknowledged = await asyncio.to_thread(publish_until_killed, serving)
    assert acknowledged >= KILLED_AFTER
    again = await start(tmp_path)
    try:
        wanted = [b"%d" % number for number in range(1, acknowledged + 1)]
        found: list[bytes] = []
        async with asyncio.timeout(30):
            while not set(wanted) <= set(found):
                found = [event.body for event in await events(again, acknowledged)]
                await asyncio.sleep(0.01)
    finally:
        await again.stop()
    first = list(dict.fromkeys(found))
    assert first[:acknowledged] == wanted
