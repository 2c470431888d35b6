"""MQTT over WebSocket: the upgrade, and bytes between it and a socket pair (heads spec 1.10 and 3.5; M-064,
H-018, H-019)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from edgehub.heads import websocket as websocket_module
from edgehub.heads.http import HttpHead
from edgehub.heads.websocket import MqttWebSockets, choose_sub_protocol
from testkit.fake_core import CoreError, Engine
from testkit.https import HOST, TrustedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PACKET_BYTES_MAX = 200_000
PATHS = ("/$iothub/websocket", "/%24iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true", "/")


class Bench:
    """The HTTP head in front of a fake core, and one client session."""

    def __init__(self, core: Engine, url: str, session: aiohttp.ClientSession) -> None:
        self.core = core
        self.url = url
        self.session = session

    async def connect(self, path: str = PATHS[0]) -> aiohttp.ClientWebSocketResponse:
        return await self.session.ws_connect(self.url + path, protocols=("mqtt",), max_msg_size=0)

    async def connect_both(self) -> tuple[aiohttp.ClientWebSocketResponse, socket.socket]:
        """The client's WebSocket and the core's end of the pair."""
        client = await self.connect()
        await until(lambda: bool(self.core.adopted))
        return client, self.core.adopted.pop()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the server
            await asyncio.sleep(0.005)


async def receive(end: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes from the core's end."""
    data = b""
    async with asyncio.timeout(10):
        while len(data) < count:
            piece = await asyncio.get_running_loop().sock_recv(end, count - len(data))
            assert piece, f"ended after {len(data)} bytes"
            data += piece
    return data


async def receive_end(end: socket.socket) -> None:
    """The core sees a lost connection."""
    async with asyncio.timeout(10):
        try:
            while await asyncio.get_running_loop().sock_recv(end, 65536):
                pass
        except ConnectionResetError:
            pass


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = TrustedServer(tmp_path / "certificates")
    core = Engine()
    head = HttpHead(100, on_upgrade=MqttWebSockets(core.adopt, CoreError, PACKET_BYTES_MAX).serve)
    head.use_certificate(server.chain_pem, server.key_pem)
    port = await head.start(HOST, 0)
    async with server.session() as session:
        yield Bench(core, f"https://{HOST}:{port}", session)
    for end in core.adopted:
        end.close()
    await head.close()
    core.dispose()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["mqtt"], "mqtt"),
        (["MQTT"], "MQTT"),
        (["AMQPWSB10, Mqtt , mqtt"], "Mqtt"),
        (["x", "y, mqtt"], "mqtt"),
        (["AMQPWSB10"], None),
        (["mqttv3.1"], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_first_known_sub_protocol_wins(offered: list[str], chosen: str | None) -> None:
    assert choose_sub_protocol(offered) == chosen


@pytest.mark.parametrize("path", PATHS)
async def test_h_018_any_path_is_upgraded(bench: Bench, path: str) -> None:
    client = await bench.connect(path)
    assert client.protocol == "mqtt"
    await until(lambda: bool(bench.core.adopted))
    (call,) = bench.core.take_calls("adopt")
    host, _, port = call.peer.rpartition(":")
    assert host == HOST
    assert int(port) > 0
    await client.close()


@pytest.mark.parametrize("offered", ["MQTT", "other, mQtt"])
async def test_the_spelling_of_the_client_is_echoed(bench: Bench, offered: str) -> None:
    names = tuple(name.strip() for name in offered.split(","))
    client = await bench.session.ws_connect(bench.url, protocols=names)
    assert client.protocol == names[-1]
    await client.close()


async def test_sub_protocols_may_stand_in_several_headers_and_are_not_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Protocol", "whatever-a-stranger-sends"),
        ("Sec-WebSocket-Protocol", "mqtt"),
    ]
    async with bench.session.get(bench.url, headers=upgrade) as answer:
        assert (answer.status, answer.headers["Sec-WebSocket-Protocol"]) == (101, "mqtt")
        answer.close()
    assert "whatever" not in caplog.text


@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Protocol": "AMQPWSB10"}])
async def test_h_019_no_known_sub_protocol_gives_400(bench: Bench, headers: dict[str, str]) -> None:
    upgrade = {
        "Upgrade": "WebSocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with bench.session.get(bench.url + PATHS[0], headers=upgrade | headers) as answer:
        assert (answer.status, await answer.read()) == (400, b"")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert bench.core.adopted == []


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Version", "Sec-WebSocket-Key", "Connection"])
async def test_a_bad_upgrade_gives_400(bench: Bench, missing: str) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    del upgrade[missing]
    async with bench.session.get(bench.url, headers=upgrade) as answer:
        assert (answer.status, await answer.read()) == (400, b"")
    assert bench.core.adopted == []


async def test_bytes_are_carried_whatever_the_frames(bench: Bench) -> None:
    client, core = await bench.connect_both()
    for frame in (b"\x10", b"\x02ab\xc0\x00\x30", b"\x03xyz"):
        await client.send_bytes(frame)
    assert await receive(core, 10) == b"\x10\x02ab\xc0\x00\x30\x03xyz"[:10]
    await asyncio.get_running_loop().sock_sendall(core, b"answer")
    assert await client.receive_bytes() == b"answer"
    await client.close()
    await receive_end(core)
    core.close()


async def test_pings_are_answered_and_none_is_sent(bench: Bench) -> None:
    client, core = await bench.connect_both()
    await client.ping(b"there?")
    await client.send_bytes(b"x")
    assert await receive(core, 1) == b"x"
    await client.close()
    core.close()


@pytest.mark.parametrize(
    ("end", "code"),
    [("text", 1003), ("too large", 1009), ("close", None), ("lost", None)],
)
async def test_an_end_by_the_client_is_a_lost_connection_for_the_core(
    bench: Bench, end: str, code: int | None
) -> None:
    client, core = await bench.connect_both()
    await client.send_bytes(b"before")
    if end == "text":
        await client.send_str("text")
    elif end == "too large":
        await client.send_bytes(bytes(PACKET_BYTES_MAX + websocket_module.FRAME_SPARE_BYTES + 1))
    elif end == "close":
        await client.close()
    else:
        transport = client.get_extra_info("socket")
        assert transport is not None
        transport.shutdown(socket.SHUT_RDWR)
    assert await receive(core, 6) == b"before"
    await receive_end(core)
    core.close()
    if code is not None:
        message = await client.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)


async def test_a_message_of_the_largest_size_passes(bench: Bench) -> None:
    client, core = await bench.connect_both()
    size = PACKET_BYTES_MAX + websocket_module.FRAME_SPARE_BYTES
    sending = asyncio.create_task(client.send_bytes(b"x" * size))
    assert await receive(core, size) == b"x" * size
    await sending
    await client.close()
    core.close()


async def test_the_last_words_of_the_core_arrive_before_the_close_frame(bench: Bench) -> None:
    client, core = await bench.connect_both()
    core.sendall(b"refused")
    core.close()
    assert await client.receive_bytes() == b"refused"
    message = await client.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)


async def test_the_last_words_arrive_although_the_client_goes_on(bench: Bench) -> None:
    client, core = await bench.connect_both()
    await client.send_bytes(b"unread")
    await asyncio.sleep(0.05)
    core.sendall(b"refused")
    core.close()
    await client.send_bytes(b"more")
    assert await client.receive_bytes() == b"refused"
    assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_a_core_that_does_not_read_stops_the_client(bench: Bench) -> None:
    client, core = await bench.connect_both()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await client.send_bytes(bytes(100_000))
            sent += 100_000

    flooding = asyncio.create_task(flood())
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)
    assert 0 < sent < 20_000_000, "only what kernels and aiohttp buffer"
    flooding.cancel()
    assert len(await receive(core, sent)) == sent
    core.close()


async def test_a_client_that_does_not_read_stops_the_core(bench: Bench) -> None:
    writer = await _raw_upgrade(bench)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: bool(bench.core.adopted))
    core = bench.core.adopted.pop()
    loop = asyncio.get_running_loop()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await loop.sock_sendall(core, bytes(50_000))
            sent += 50_000

    flooding = asyncio.create_task(flood())
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)
    assert 0 < sent < 20_000_000, "only what kernels and aiohttp buffer"
    flooding.cancel()
    core.close()
    writer.close()


async def test_a_client_that_takes_nothing_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "SEND_WAIT_S", 0.2)
    monkeypatch.setattr(websocket_module, "CLOSE_WAIT_S", 0.1)
    writer = await _raw_upgrade(bench)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: bool(bench.core.adopted))
    core = bench.core.adopted.pop()

    async def flood() -> None:
        while True:
            await asyncio.get_running_loop().sock_sendall(core, bytes(50_000))

    with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):
        await asyncio.wait_for(flood(), 10)
    core.close()
    writer.close()


async def _raw_upgrade(bench: Bench) -> asyncio.StreamWriter:
    """A WebSocket of bare hands: aiohttp's client reads even when nobody asks it to."""
    port = int(bench.url.rpartition(":")[2])
    connector = bench.session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    reader, writer = await asyncio.open_connection(HOST, port, ssl=connector._ssl, limit=1024)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return writer


async def test_a_core_that_takes_no_connection_is_told_to_the_client(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.core.fail_adopt = "the engine does not run"
    client = await bench.connect()
    message = await client.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
    assert "the engine does not run" in caplog.text


async def test_no_descriptor_is_left_behind(bench: Bench) -> None:
    import os

    async def count() -> int:
        await asyncio.sleep(0.05)
        return len(os.listdir("/proc/self/fd"))

    client, core = await bench.connect_both()
    await client.close()
    core.close()
    before = await count()
    for end in ("client", "core"):
        client, core = await bench.connect_both()
        if end == "client":
            await client.close()
        core.close()
        await client.receive()
        await client.close()
    assert await count() <= before
