"""MQTT over WebSocket against a real hub: it is like TCP (M-064, H-018), also for an unmodified SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from testkit.https import TrustedServer
from testkit.hub_process import EDGE, HUB_HOST, KEY, HubProcess, token, username
from testkit.wire import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    PacketReader,
    Received,
    WireClient,
    connect_packet,
    packet,
    puback_packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HERE = Path(__file__).resolve().parent
ROUTES = {
    "m": "FROM /messages/* WHERE $connectionDeviceId = 'leaf' INTO BrokeredEndpoint('/modules/m/inputs/i')",
    "n": "FROM /messages/* WHERE $connectionDeviceId = 'other' INTO BrokeredEndpoint('/modules/n/inputs/i')",
}
INPUTS = "devices/edge1/modules/m/inputs/#"
LEAF_TOPIC = "devices/leaf/messages/events/"
WAIT_S = 20.0
DISCONNECT = packet(14, b"")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> TrustedServer:
    return TrustedServer(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, server: TrustedServer) -> Iterator[HubProcess]:
    settings = {
        "StoreSync": "none",
        "EdgeHubDevServerCertificateFile": str(server.files.chain),
        "EdgeHubDevServerPrivateKeyFile": str(server.files.key),
        "httpSettings__enabled": "true",
        "httpSettings__host": "127.0.0.1",
        "httpSettings__port": "0",
    }
    folder = tmp_path_factory.mktemp("hub")
    devices, modules = ["leaf", "other"], ["m", "n"]
    with HubProcess(folder, devices=devices, modules=modules, routes=ROUTES, settings=settings) as hub:
        yield hub


class WebSocketClient:
    """An MQTT client of bare hands over WebSocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self._packets = PacketReader()

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            await self.websocket.send_bytes(frame)

    async def receive(self) -> Received | None:
        """The next packet; None when the hub closed."""
        while (found := self._packets.take()) is None:
            message = await self.websocket.receive(timeout=WAIT_S)
            if message.type is not aiohttp.WSMsgType.BINARY:
                return None
            self._packets.feed(message.data)
        return found

    async def expect(self, kind: int) -> Received:
        got = await self.receive()
        assert got is not None, "closed"
        assert got.kind == kind
        return got

    async def connect(self, identity: str, *, will: tuple[str, bytes] | None = None) -> None:
        await self.send(connect_packet(identity, username(identity), token(identity), will=will))
        assert (await self.expect(CONNACK)).code == 0


class Site:
    """Opens WebSockets to the hub."""

    def __init__(self, hub: HubProcess, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self._session = session

    async def open(self) -> WebSocketClient:
        url = f"https://127.0.0.1:{self.hub.https_port}/$iothub/websocket"
        return WebSocketClient(await self._session.ws_connect(url, protocols=("mqtt",)))

    async def client(self, identity: str, **options: tuple[str, bytes] | None) -> WebSocketClient:
        client = await self.open()
        await client.connect(identity, **options)
        return client


@pytest.fixture
async def site(hub: HubProcess, server: TrustedServer) -> AsyncIterator[Site]:
    async with server.session() as session:
        yield Site(hub, session)


@pytest.fixture
def module(hub: HubProcess) -> Iterator[WireClient]:
    """The module over TCP, subscribed to its inputs."""
    with hub.client(f"{EDGE}/m") as module:
        module.send(subscribe_packet(INPUTS))
        module.expect(SUBACK)
        yield module


def take_until(module: WireClient, wanted: bytes) -> list[bytes]:
    """What the module gets up to a message, which must come; others may be left from before."""
    bodies: list[bytes] = []
    while wanted not in bodies:
        _, packet_id, body = module.expect(PUBLISH).message()
        module.send(puback_packet(packet_id))
        bodies.append(body)
    return bodies


async def test_m_064_publish_and_deliver(site: Site) -> None:
    device, module = await site.client("leaf"), await site.client(f"{EDGE}/m")
    await module.send(subscribe_packet(INPUTS))
    await module.expect(SUBACK)
    for number in range(1, 51):
        await device.send(publish_packet(LEAF_TOPIC, b"%d" % number, number))
    for number in range(1, 51):
        assert (await device.expect(PUBACK)).acked == number
        _, packet_id, body = (await module.expect(PUBLISH)).message()
        assert body == b"%d" % number
        await module.send(puback_packet(packet_id))
    await device.send(DISCONNECT)
    assert await device.receive() is None
    assert device.websocket.close_code == aiohttp.WSCloseCode.OK
    await module.websocket.close()


async def test_packets_need_not_be_frames(site: Site) -> None:
    device = await site.open()
    connect = connect_packet("leaf", username("leaf"), token("leaf"))
    first, second = (publish_packet(LEAF_TOPIC, b"cut anywhere", number) for number in (1, 2))
    stream = connect + first + second
    await device.send(*(stream[at : at + 1] for at in range(len(connect) + 7)), stream[len(connect) + 7 :])
    assert (await device.expect(CONNACK)).code == 0
    assert [(await device.expect(PUBACK)).acked for _ in range(2)] == [1, 2]
    await device.websocket.close()


async def test_a_large_message_passes_and_comes_back(site: Site, module: WireClient) -> None:
    device = await site.client("leaf")
    body = os.urandom(250_000)
    await device.send(publish_packet(LEAF_TOPIC, body, 1))
    assert (await device.expect(PUBACK)).acked == 1
    await asyncio.to_thread(take_until, module, body)
    await device.websocket.close()


async def test_a_refusal_arrives_before_the_close(site: Site) -> None:
    device = await site.open()
    await device.send(connect_packet("leaf", username("leaf"), "no token") + packet(12, b""))
    assert (await device.expect(CONNACK)).code == 5
    assert await device.receive() is None


@pytest.mark.parametrize(
    ("end", "published"),
    [
        ("text frame", True),
        ("close frame", True),
        ("lost", True),
        ("bad packet", True),
        ("DISCONNECT", False),
    ],
)
async def test_wills(site: Site, module: WireClient, end: str, published: bool) -> None:
    will = f"after {end}".encode()
    device = await site.client("leaf", will=(LEAF_TOPIC, will))
    match end:
        case "text frame":
            await device.websocket.send_str("text")
        case "close frame":
            await device.websocket.close()
        case "lost":
            socket = device.websocket.get_extra_info("socket")
            assert socket is not None
            socket.shutdown(2)
        case "bad packet":
            await device.send(b"\x00\x00")
        case "DISCONNECT":
            await device.send(DISCONNECT)
            assert await device.receive() is None
            device = await site.client("leaf")
            await device.send(publish_packet(LEAF_TOPIC, b"what comes next", 1))
    last = will if published else b"what comes next"
    bodies = await asyncio.to_thread(take_until, module, last)
    assert (will in bodies) is published
    await device.websocket.close()


async def test_m_059_the_newest_connection_wins_whatever_its_transport(site: Site) -> None:
    with site.hub.client("leaf") as tcp:
        web = await site.client("leaf")
        await asyncio.to_thread(tcp.expect_closed)
    other = await site.client("leaf")
    assert await web.receive() is None
    with await asyncio.to_thread(site.hub.client, "leaf"):
        assert await other.receive() is None


async def test_the_peer_in_the_log_is_the_client(site: Site) -> None:
    device = await site.client("leaf")
    name = device.websocket.get_extra_info("sockname")
    assert name is not None
    line = f"Client leaf connected from {name[0]}:{name[1]}"
    deadline = time.monotonic() + WAIT_S
    while line not in site.hub.log():
        assert time.monotonic() < deadline, f"{line} is not in the log"
        await asyncio.sleep(0.05)
    await device.websocket.close()


# The SDK


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def http_proxy(port: int) -> AsyncIterator[int]:
    """An HTTP proxy that leads every CONNECT to one port of this machine: the SDK knows only port 443, where
    tests may not listen."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"CONNECT localhost:443 "), request
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_relay(reader, far_writer), _relay(far_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


def _connection_string(device: str, module: str = "") -> str:
    names = f"HostName={HUB_HOST};DeviceId={device}" + (f";ModuleId={module}" if module else "")
    return f"{names};SharedAccessKey={KEY};GatewayHostName=localhost"


async def test_the_python_sdk(hub: HubProcess, server: TrustedServer) -> None:
    async with http_proxy(hub.https_port) as proxy_port:
        order = {
            "device": _connection_string("other"),
            "module": _connection_string(EDGE, "n"),
            "authority_pem": server.authority_file.read_text(),
            "proxy_port": proxy_port,
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "sdk_over_websocket.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await child.communicate(json.dumps(order).encode())
    assert child.returncode == 0, errors.decode()
    told = json.loads(output)
    assert told["delivered"] == [["i", f"message {number}"] for number in range(5)]
    assert told["twin"] == "answered"
