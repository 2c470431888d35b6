"""One MQTT connection with hubs that misbehave, over TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, TypeAlias

import pytest

from edgeagent.link.connection import ACKS_MAX, Login, MqttConnection
from edgeagent.link.errors import ConnectError, LinkBusyError, LinkDownError, RequestRefusedError
from edgeagent.link.settings import UpstreamProtocol
from edgeagent.link.sockets import Endpoint, SocketOpener
from edgeagent.link.tls import upstream_context
from testkit.certificates import make_certificates
from testkit.wire import field, packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOGIN = Login("d/$edgeAgent", "hub/d/$edgeAgent/?api-version=1", "token")
ACCEPTED = packet(2, b"\0\0")
WAIT_S = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


class Opened:
    """A connection, and what it tells."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.connection = MqttConnection(
            SocketOpener(Endpoint("localhost", port, trust)),
            ("localhost", port),
            UpstreamProtocol.MQTT,
            lambda topic, payload: self.received.append((topic, payload)),
            self.ended.put_nowait,
        )


@contextlib.asynccontextmanager
async def hub(script: Script, certificates: Path) -> AsyncIterator[Opened]:
    """Reads CONNECT and follows a script."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "hub.pem", certificates / "hub.key")
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await read_packet(reader)
            await script(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    opened = Opened(
        server.sockets[0].getsockname()[1], upstream_context((certificates / "ca.pem").read_text())
    )
    try:
        async with asyncio.timeout(WAIT_S):
            yield opened
    finally:
        opened.connection.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_packet(reader: asyncio.StreamReader) -> bytes:
    """Type and body of a short packet, or one with two digits of length."""
    first, length = await reader.readexactly(2)
    if length & 128:
        length = (length & 127) + 128 * (await reader.readexactly(1))[0]
    return bytes([first]) + await reader.readexactly(length)


async def until_closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(1000):
        pass


async def test_publishes_that_arrive_in_one_piece(certificates: Path) -> None:
    """TLS has decrypted them all before the first is looked at."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        many = b"".join(packet(3, field(f"t/{number}") + b"x" * number) for number in range(300))
        writer.write(ACCEPTED + many + packet(3, field("big") + b"y" * 100_000) + packet(3, field("last")))
        await until_closed(reader)

    async with hub(script, certificates) as opened:
        await opened.connection.open(LOGIN)
        while not opened.received or opened.received[-1][0] != "last":  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
    assert [topic for topic, _ in opened.received] == [
        *(f"t/{number}" for number in range(300)),
        "big",
        "last",
    ]
    assert opened.received[-2][1] == b"y" * 100_000
    assert opened.ended.empty()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
async def test_refusals(certificates: Path, code: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(packet(2, bytes([0, code])))
        await until_closed(reader)

    async with hub(script, certificates) as opened:
        with pytest.raises(ConnectError) as caught:
            await opened.connection.open(LOGIN)
    assert caught.value.refused == (code in (4, 5))
    assert opened.ended.empty()


@pytest.mark.parametrize(
    "sent", [b"", b"\x20", b"nonsense " * 50, b"\x20\x80\x80\x80\x80\x80", packet(9, b"\0\1\0")]
)
async def test_a_hub_that_speaks_something_else(certificates: Path, sent: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with hub(script, certificates) as opened:
        with pytest.raises(ConnectError):
            await opened.connection.open(LOGIN)
    assert opened.ended.empty()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        packet(3, b"\0"),
        packet(3, b"\0\x09x"),
        packet(3, field(b"\xff\xff")),
        b"\xf0\x00",
        packet(2, b""),
        b"\x30\xff\xff\xff\xff\xff",
    ],
    ids=["end", "no topic", "short topic", "topic of no text", "no type", "short connack", "length"],
)
async def test_what_cannot_be_read_ends_the_connection(certificates: Path, sent: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED + sent)

    async with hub(script, certificates) as opened:
        with contextlib.suppress(ConnectError):
            await opened.connection.open(LOGIN)
            assert await opened.ended.get()
        with pytest.raises(LinkDownError):
            opened.connection.publish("t", b"")
    assert opened.ended.empty()


async def test_an_end_is_told_to_whoever_waits(certificates: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        await read_packet(reader)

    async with hub(script, certificates) as opened:
        await opened.connection.open(LOGIN)
        with pytest.raises(LinkDownError, match="the connection ended"):
            await opened.connection.subscribe(["t/#"])


async def test_a_subscription_that_is_not_granted(certificates: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        asked = await read_packet(reader)
        writer.write(packet(9, asked[1:3] + b"\x00\x80"))
        await until_closed(reader)

    async with hub(script, certificates) as opened:
        await opened.connection.open(LOGIN)
        with pytest.raises(RequestRefusedError, match="a subscription with 128"):
            await opened.connection.subscribe(["a", "b"])


async def test_messages_without_acknowledgement(certificates: Path) -> None:
    """Their number is limited, and the end of the connection is the end of all waits."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        sent = await read_packet(reader)
        writer.write(packet(4, sent[4:6]))
        await until_closed(reader)

    async with hub(script, certificates) as opened:
        await opened.connection.open(LOGIN)
        await opened.connection.publish_acknowledged("t", b"body")
        waiting = [
            asyncio.create_task(opened.connection.publish_acknowledged("t", b"")) for _ in range(ACKS_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(LinkBusyError):
            await opened.connection.publish_acknowledged("t", b"")
        opened.connection.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {LinkDownError}


async def test_more_than_the_socket_takes_at_once(certificates: Path) -> None:
    """The rest follows when there is room again."""
    go, size, heard = asyncio.Event(), 200_000, bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        await go.wait()
        while len(heard) < 40 * size:
            heard.extend(await reader.read(1 << 16))

    async with hub(script, certificates) as opened:
        await opened.connection.open(LOGIN)
        for _ in range(40):
            opened.connection.publish("t", b"x" * size)
        go.set()
        while len(heard) < 40 * size:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)


async def test_giving_up_while_the_hub_is_silent(certificates: Path) -> None:
    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await until_closed(reader)

    async with hub(script, certificates) as opened:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await opened.connection.open(LOGIN)
        opened.connection.close()
    assert opened.ended.empty()


async def test_giving_up_within_the_handshake() -> None:
    """The thread that connects ends soon, and leaves no socket open."""
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        heard.set()
        await until_closed(reader)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    opened = Opened(server.sockets[0].getsockname()[1], upstream_context())
    task = asyncio.create_task(opened.connection.open(LOGIN))
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    opened.connection.close()
    server.close()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert opened.ended.empty()
