"""The HTTPS port: answers without routes, limits, its certificate (heads spec 3, 3.5, 3.6)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from edgehub.heads import http as http_module
from edgehub.heads.http import HttpHead, HttpStartError
from edgehub.hub.certificates import CertificateError
from testkit.https import HOST, TrustedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "mqtt",
}


async def _hello(request: web.Request) -> web.Response:
    return web.json_response({"body": (await request.read()).decode()})


async def _broken(request: web.Request) -> web.Response:
    raise RuntimeError("on purpose")


async def _sleepy(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


@pytest.fixture
def server(tmp_path: Path) -> TrustedServer:
    return TrustedServer(tmp_path / "certificates")


@pytest.fixture
async def head(server: TrustedServer) -> AsyncIterator[HttpHead]:
    head = HttpHead(connections_max=3)
    head.add_routes([web.post("/hello", _hello), web.get("/broken", _broken), web.get("/sleepy", _sleepy)])
    head.use_certificate(server.chain_pem, server.key_pem)
    yield head
    await head.close()
    await head.close()


@pytest.fixture
async def url(head: HttpHead) -> str:
    return f"https://{HOST}:{await head.start(HOST, 0)}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/devices/d/messages/events", 404),
        ("GET", "/$iothub/websocket", 404),
        ("GET", "/hello", 405),
        ("GET", "/broken", 500),
    ],
)
async def test_what_nobody_serves_has_an_empty_body(
    server: TrustedServer, url: str, method: str, path: str, status: int
) -> None:
    async with server.session() as session, session.request(method, url + path) as answer:
        assert (answer.status, await answer.read()) == (status, b"")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_route_that_was_added_is_served(server: TrustedServer, url: str) -> None:
    async with server.session() as session, session.post(f"{url}/hello", data="x") as answer:
        assert (answer.status, await answer.json()) == (200, {"body": "x"})
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_body_over_the_limit_is_refused(server: TrustedServer, url: str) -> None:
    async with server.session() as session:
        for size, status in ((http_module.BODY_BYTES_MAX, 200), (http_module.BODY_BYTES_MAX + 1, 413)):
            async with session.post(f"{url}/hello", data=b"x" * size) as answer:
                assert answer.status == status


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("/" + "x" * (http_module.LINE_BYTES_MAX - 100), 1, b" 404 "),
        ("/" + "x" * http_module.LINE_BYTES_MAX, 1, b" 400 "),
        ("/", http_module.HEADERS_MAX, b" 404 "),
        ("/", http_module.HEADERS_MAX + 1, b" 400 "),
    ],
)
async def test_a_first_line_and_the_number_of_headers_have_limits(
    server: TrustedServer, url: str, line: str, headers: int, status: bytes
) -> None:
    fields = "".join(f"h{number}: x\r\n" for number in range(headers - 1))
    assert status in await _first_answer(server, url, f"GET {line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")


@pytest.mark.parametrize(("spare", "status"), [(-100, b" 404 "), (1, b" 400 ")])
async def test_a_header_has_a_limit(server: TrustedServer, url: str, spare: int, status: bytes) -> None:
    field = "x" * (http_module.FIELD_BYTES_MAX + spare)
    assert status in await _first_answer(server, url, f"GET / HTTP/1.1\r\nHost: h\r\nh: {field}\r\n\r\n")


async def _first_answer(server: TrustedServer, url: str, request: str) -> bytes:
    """The first line of what comes back."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HOST, port, ssl=server.client_context)
    writer.write(request.encode())
    line = await reader.readline()
    writer.close()
    return line


async def test_an_upgrade_without_a_protocol_behind_it_gives_400(server: TrustedServer, url: str) -> None:
    async with server.session() as session, session.get(f"{url}/x", headers=UPGRADE) as answer:
        assert (answer.status, await answer.read()) == (400, b"")


async def test_noise_is_not_logged(url: str, caplog: pytest.LogCaptureFixture, server: TrustedServer) -> None:
    port = int(url.rpartition(":")[2])
    for noise in (b"\x00" * 50, b"GET / HTTP/1.1\r\nbad header\r\n\r\n"):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(noise)
        await reader.read()
        writer.close()
        reader, writer = await asyncio.open_connection(HOST, port, ssl=server.client_context)
        writer.write(noise)
        assert b"400" in await reader.read()
        writer.close()
    assert caplog.text == ""


async def test_connections_beyond_the_limit_wait(
    server: TrustedServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(url.rpartition(":")[2])
    opened = [await asyncio.open_connection(HOST, port, ssl=server.client_context) for _ in range(3)]
    waiting = asyncio.create_task(asyncio.open_connection(HOST, port, ssl=server.client_context))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    opened[0][1].close()
    opened.append(await waiting)
    for _, writer in opened:
        writer.close()


async def test_a_connection_without_a_request_is_closed(
    server: TrustedServer, head: HttpHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "REQUEST_WAIT_S", 0.05)
    head = HttpHead(connections_max=1)
    head.add_routes([web.get("/sleepy", _sleepy)])
    head.use_certificate(server.chain_pem, server.key_pem)
    port = await head.start(HOST, 0)
    for beginning in (b"", b"GET / HT"):
        reader, writer = await asyncio.open_connection(HOST, port, ssl=server.client_context)
        writer.write(beginning)
        assert await reader.read() == b""
        writer.close()
    reader, writer = await asyncio.open_connection(HOST, port, ssl=server.client_context)
    writer.write(b"GET /sleepy HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read()
    writer.close()
    await head.close()


async def test_a_handshake_that_hangs_is_given_up(
    server: TrustedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehub.heads.tls_listener.HANDSHAKE_WAIT_S", 0.05)
    head = HttpHead(connections_max=1)
    head.use_certificate(server.chain_pem, server.key_pem)
    port = await head.start(HOST, 0)
    _, silent = await asyncio.open_connection(HOST, port)
    async with server.session() as session, session.get(f"https://{HOST}:{port}/") as answer:
        assert answer.status == 404
    silent.close()
    await head.close()


@pytest.mark.parametrize("offered", [("1.2",), ("1.3",), ("1.2", "1.3")])
async def test_tls_versions(server: TrustedServer, offered: tuple[str, ...]) -> None:
    head = HttpHead(10, offered)
    head.use_certificate(server.chain_pem, server.key_pem)
    url = f"https://{HOST}:{await head.start(HOST, 0)}"
    spoken = []
    for name, version in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
        context = server.client_context
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
        context.minimum_version = version
        async with server.session() as session:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with session.get(url) as answer:
                    assert answer.status == 404
                    spoken.append(name)
    assert tuple(spoken) == offered
    await head.close()


async def test_another_certificate_is_for_new_connections_only(
    server: TrustedServer, head: HttpHead, url: str, tmp_path: Path
) -> None:
    other = TrustedServer(tmp_path / "other")
    async with server.session() as before, other.session() as after:
        async with before.get(url) as answer:
            assert answer.status == 404
        head.use_certificate(other.chain_pem, other.key_pem)
        async with before.get(url) as answer:
            assert answer.status == 404, "the connection lives on"
        async with after.get(url) as answer:
            assert answer.status == 404
    async with server.session() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


async def test_a_bad_certificate_leaves_the_old_one(
    server: TrustedServer, head: HttpHead, url: str, tmp_path: Path
) -> None:
    other = TrustedServer(tmp_path / "other")
    for chain, key in ((b"junk", server.key_pem), (server.chain_pem, other.key_pem), (b"", b"")):
        with pytest.raises(CertificateError, match="the server certificate cannot be used for HTTPS"):
            head.use_certificate(chain, key)
    async with server.session() as session, session.get(url) as answer:
        assert answer.status == 404


async def test_a_port_that_cannot_be_opened_names_the_setting(
    head: HttpHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HttpStartError) as busy:
            await head.start(HOST, port)
    assert f"cannot listen on {HOST}:{port}: Address already in use" in str(busy.value)

    def denied(*args: object, **options: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edgehub.common.listening.socket.create_server", denied)
    with pytest.raises(HttpStartError) as refused:
        await head.start("", 443)
    text = str(refused.value)
    assert "cannot listen on *:443: Permission denied" in text
    assert "httpSettings__port" in text
    assert "httpSettings__enabled=false" in text


async def test_open_requests_live_on_while_the_port_is_closed(
    server: TrustedServer, head: HttpHead, url: str
) -> None:
    async with server.session() as session:
        async with session.get(url) as answer:
            assert answer.status == 404
        await head.stop_accepting()
        async with session.get(url) as answer:
            assert answer.status == 404
    async with server.session() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
