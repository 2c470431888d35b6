"""Agent spec 7.1 on a real unix socket."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeagent.workload.http import Answer, Request
from edgeagent.workload.server import UnixHttpServer
from testkit.raw_http import Raw, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT = 10
BODY_MAX = 1000


class Echo:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def answer(self, request: Request) -> Answer:
        self.waiting += 1
        await self.gate.wait()
        if request.target == "/fail":
            raise RuntimeError("secret of the server")
        if request.target == "/none":
            return Answer(204)
        content = [request.verb, request.target, request.content_type, request.body.decode("latin-1")]
        return Answer(200, content)


@pytest.fixture
def echo() -> Echo:
    return Echo()


def server_on(path: Path, echo: Echo, **options: Any) -> UnixHttpServer:
    given = {"mode": 0o666, "connections_max": LIMIT, "body_bytes_max": BODY_MAX, **options}
    return UnixHttpServer(path, echo.answer, **given)


@pytest.fixture
async def path(tmp_path: Path, echo: Echo) -> AsyncIterator[Path]:
    server = server_on(tmp_path / "w.sock", echo)
    await server.start()
    yield tmp_path / "w.sock"
    await server.close()


async def test_a_request_arrives_as_it_was_sent(path: Path) -> None:
    found = await call(path, "POST", "/modules/%24edgeHub?x=%20", b"body", Content_Type="a/b; c=d")
    assert found == (200, ["POST", "/modules/%24edgeHub?x=%20", "a/b; c=d", "body"])
    assert await call(path, "GET", "/none") == (204, None)
    assert (await call(path, "GET", "/"))[1][2] is None


async def test_a_host_as_the_python_sdk_sends_it(path: Path) -> None:
    found = await call(path, "GET", "/x", Host="%2Fvar%2Frun%2Fiotedge%2Fworkload.sock")
    assert found[0] == 200


async def test_several_requests_on_one_connection(path: Path) -> None:
    raw = await Raw.open(path)
    for number in range(20):
        raw.send("GET", f"/{number}")
    for number in range(20):
        assert (await raw.answer())[1][1] == f"/{number}"
    await raw.close()


async def test_a_chunked_body(path: Path) -> None:
    raw = await Raw.open(path)
    raw.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"):
        raw.writer.write(piece)
    assert (await raw.answer())[1][3] == "abc"
    await raw.close()


async def test_a_compressed_body_stays_compressed(path: Path) -> None:
    """Otherwise a small request could become a large one."""
    status, content = await call(path, "POST", "/", b"not gzip", Content_Encoding="gzip")
    assert (status, content[3]) == (200, "not gzip")


async def test_the_limit_of_a_body(path: Path) -> None:
    assert (await call(path, "POST", "/", b"x" * BODY_MAX))[0] == 200
    raw = await Raw.open(path)
    raw.send("POST", "/", b"x" * (BODY_MAX + 1))
    assert await raw.answer() == (413, {"message": f"request body is longer than {BODY_MAX} bytes"})
    assert await raw.ended()
    await raw.close()


async def test_a_body_that_does_not_come(tmp_path: Path, echo: Echo) -> None:
    """408; the wait is set to next to nothing here."""
    server = server_on(tmp_path / "w.sock", echo, body_wait_s=0.001)
    await server.start()
    raw = await Raw.open(tmp_path / "w.sock")
    raw.send("POST", "/", Content_Length="5")
    assert await raw.answer() == (408, {"message": "request body took longer than 0.001 s"})
    assert await raw.ended()
    await raw.close()
    await server.close()


async def test_a_body_that_breaks_off(path: Path, echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is there to be answered, and nothing is worth a line in the log."""
    raw = await Raw.open(path)
    raw.send("POST", "/", b"ab", Content_Length="5")
    await raw.close()
    assert (await call(path, "GET", "/"))[0] == 200
    assert echo.waiting == 1
    assert not caplog.text


async def test_a_client_that_does_not_wait_for_its_answer(
    path: Path, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    echo.gate.clear()
    raw = await Raw.open(path)
    raw.send("POST", "/", b"ab")
    while not echo.waiting:  # noqa: ASYNC110 - the request arrives through a socket
        await asyncio.sleep(0)
    await raw.close()
    echo.gate.set()
    assert (await call(path, "GET", "/"))[0] == 200
    assert not caplog.text


async def test_a_failure_says_nothing_of_the_inside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    status, content = await call(path, "GET", "/fail")
    assert status == 500
    assert "secret of the server" not in content["message"]
    assert "secret of the server" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9.9\r\n\r\n"],
)
async def test_what_is_not_http(path: Path, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """400 as JSON, and not a word in the log: anyone may send it at any rate."""
    raw = await Raw.open(path)
    raw.writer.write(sent)
    status, content = await raw.answer()
    assert status == 400
    assert content["message"]
    assert await raw.ended()
    await raw.close()
    assert not caplog.text


async def test_a_header_that_is_too_long(path: Path) -> None:
    assert (await call(path, "GET", "/", X_Long="x" * 20_000))[0] == 400
    assert (await call(path, "GET", "/" + "x" * 20_000))[0] == 400


async def test_w25_connections_beyond_the_limit_are_closed(
    path: Path, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    """Row W25: extra ones are closed without an answer, the others are served, and places are free again."""
    echo.gate.clear()
    served = [await Raw.open(path) for _ in range(LIMIT)]
    for raw in served:
        raw.send("GET", "/")
    while echo.waiting < LIMIT:  # noqa: ASYNC110 - the requests arrive through sockets
        await asyncio.sleep(0)
    extra = [await Raw.open(path) for _ in range(5)]
    for raw in extra:
        assert await raw.ended()
        await raw.close()
    assert "Maximum concurrency reached, 10 simultaneous connections" in caplog.text
    echo.gate.set()
    for raw in served:
        assert (await raw.answer())[0] == 200
        await raw.close()
    for _ in range(LIMIT + 1):
        while (await _tried(path)) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)


async def _tried(path: Path) -> int | None:
    """Status of a request, None when there was no place for it yet."""
    try:
        return (await call(path, "GET", "/"))[0]
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def test_a_burst_beyond_the_limit(path: Path, echo: Echo) -> None:
    """Row W25: connections that arrive within one turn of the loop are counted as well."""
    echo.gate.clear()
    burst = await asyncio.gather(*(Raw.open(path) for _ in range(3 * LIMIT)))
    for raw in burst:
        raw.send("GET", "/")
    while echo.waiting < LIMIT:  # noqa: ASYNC110 - the requests arrive through sockets
        await asyncio.sleep(0)
    echo.gate.set()
    answered = await asyncio.gather(*(raw.answer() for raw in burst), return_exceptions=True)
    assert sum(isinstance(each, tuple) for each in answered) == LIMIT
    await asyncio.gather(*(raw.close() for raw in burst))


@pytest.mark.parametrize("mode", [0o600, 0o666])
async def test_permissions(tmp_path: Path, echo: Echo, mode: int) -> None:
    server = server_on(tmp_path / "w.sock", echo, mode=mode)
    await server.start()
    assert stat.S_IMODE((tmp_path / "w.sock").stat().st_mode) == mode
    await server.close()


async def test_a_stale_socket_is_replaced(path: Path, echo: Echo) -> None:
    """A second server takes the name without a moment in which there is none; removal leaves nothing."""
    second = server_on(path, echo)
    await second.start()
    assert (await call(path, "GET", "/"))[0] == 200
    await second.close(remove=True)
    assert os.listdir(path.parent) == []


async def test_a_path_longer_than_sockets_have(tmp_path: Path, echo: Echo) -> None:
    """Clients reach it from the inside of a container, where its path is short."""
    folder = tmp_path / ("m" * 128)
    folder.mkdir()
    server = server_on(folder / "workload.sock", echo)
    await server.start()
    (tmp_path / "short").symlink_to(folder)
    here = os.open(folder, os.O_RDONLY)
    try:
        assert (await call(tmp_path / f"/proc/self/fd/{here}/workload.sock", "GET", "/"))[0] == 200
    finally:
        os.close(here)
    await server.close()


async def test_a_folder_that_is_not_there(tmp_path: Path, echo: Echo) -> None:
    server = server_on(tmp_path / "none" / "w.sock", echo)
    with pytest.raises(FileNotFoundError):
        await server.start()
    await server.close()


async def test_closing_ends_connections(path: Path, tmp_path: Path, echo: Echo) -> None:
    second = server_on(tmp_path / "second.sock", echo)
    await second.start()
    raw = await Raw.open(tmp_path / "second.sock")
    raw.send("GET", "/")
    await raw.answer()
    await second.close()
    assert await raw.ended()
    await raw.close()
    assert (await call(path, "GET", "/"))[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: b"POST / HTTP/1.1\r\n" + tail))
def test_random_bytes_never_end_the_server(tmp_path: Path, sent: bytes) -> None:
    async def run() -> None:
        server = server_on(tmp_path / "w.sock", Echo())
        await server.start()
        raw = await Raw.open(tmp_path / "w.sock")
        try:
            raw.writer.write(sent)
            assert (await call(tmp_path / "w.sock", "GET", "/"))[0] == 200
        finally:
            await raw.close()
            await server.close()

    asyncio.run(run())
