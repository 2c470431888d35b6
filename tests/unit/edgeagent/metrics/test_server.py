"""The metrics port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from edgeagent.metrics.errors import MetricsListenError
from edgeagent.metrics.server import CONNECTIONS_MAX, MetricsServer, _Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OK = (200, {"status": "ok"})


@contextlib.asynccontextmanager
async def _serving(
    render: Callable[[], bytes] | None = lambda: b"m 1\n",
    health: tuple[int, dict[str, str]] = OK,
    suffix: str = "metrics",
    connection_s_max: float = 30.0,
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    server = MetricsServer(lambda: health, render, suffix, connection_s_max)
    port = await server.start(host, 0)
    try:
        yield port
    finally:
        await server.stop()
        await server.stop()


async def _ask(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session,
        session.request(method, f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_x17_the_page() -> None:
    async with _serving() as port:
        expected = (200, "text/plain; version=0.0.4; charset=utf-8", "m 1\n")
        assert await _ask(port, "/metrics") == expected
        assert await _ask(port, "/metrics/?x=1") == expected
        assert (await _ask(port, "/metrics", "HEAD"))[0] == 200


async def test_health() -> None:
    async with _serving(health=(503, {"status": "starting"})) as port:
        assert await _ask(port, "/healthz") == (
            503,
            "application/json; charset=utf-8",
            '{"status": "starting"}',
        )


async def test_other_paths_and_methods() -> None:
    async with _serving() as port:
        assert (await _ask(port, "/"))[0] == 404
        assert (await _ask(port, "/metrics/x"))[0] == 404
        assert (await _ask(port, "/metrics", "POST"))[0] == 405


@pytest.mark.parametrize("suffix", ["m/page", "/m/page/"])
async def test_another_suffix(suffix: str) -> None:
    async with _serving(suffix=suffix) as port:
        assert (await _ask(port, "/m/page"))[0] == 200
        assert (await _ask(port, "/metrics"))[0] == 404


async def test_the_root_and_health_as_suffix() -> None:
    async with _serving(suffix="/") as port:
        assert (await _ask(port, "/"))[2] == "m 1\n"
    async with _serving(suffix="healthz") as port:
        assert (await _ask(port, "/healthz"))[2] == '{"status": "ok"}'


async def test_without_metrics_there_is_health_still() -> None:
    async with _serving(render=None) as port:
        assert (await _ask(port, "/metrics"))[0] == 404
        assert (await _ask(port, "/healthz"))[0] == 200


async def test_a_page_that_fails_tells_nobody_why_but_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def render() -> bytes:
        raise ValueError("a detail")

    async with _serving(render) as port:
        status, _, text = await _ask(port, "/metrics")
        assert (status, "a detail" in text) == (500, False)
    assert "a detail" in caplog.text


async def test_all_addresses() -> None:
    async with _serving(host="*") as port:
        assert (await _ask(port, "/healthz"))[0] == 200


async def test_a_port_in_use_is_named() -> None:
    async with _serving() as port:
        with pytest.raises(MetricsListenError, match=f"127.0.0.1:{port} cannot be opened"):
            await MetricsServer(lambda: OK, None).start("127.0.0.1", port)


async def _open(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def _end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""


async def test_connections_are_bounded() -> None:
    async with _serving() as port:
        connections = [await _open(port) for _ in range(CONNECTIONS_MAX)]
        await asyncio.sleep(0)
        reader, writer = await _open(port)
        assert await _end(reader) == b""
        writer.close()
        connections[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await _end(connections[0][0])
        assert (await _ask(port, "/healthz"))[0] == 200
        for _, writer in connections:
            writer.close()


async def test_who_is_silent_or_slow_is_closed() -> None:
    async with _serving(connection_s_max=0.05) as port:
        silent, slow = await _open(port), await _open(port)
        slow[1].write(b"GET /healthz HTTP/1.1\r\nHost:")
        for reader, writer in (silent, slow):
            assert await _end(reader) == b""
            writer.close()


async def test_a_connection_that_ended_leaves_no_timer() -> None:
    server = MetricsServer(lambda: OK, None)
    _, writer = await _open(await server.start("127.0.0.1", 0))
    http = server._http
    assert http is not None
    async with asyncio.timeout(10):
        while not http._open:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        (handler,) = http._open
        writer.close()
        while http._open:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert isinstance(handler, _Connection)
    assert handler._end.cancelled()
    await server.stop()


async def test_what_is_not_http_gets_an_error() -> None:
    async with _serving() as port:
        reader, writer = await _open(port)
        writer.write(b"\x00\x01\x02\r\n\r\n")
        assert b" 400 " in await _end(reader)
        writer.close()
