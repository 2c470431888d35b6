"""The metrics port over loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from edgehub.metrics.core_totals import MetricsFormatError
from edgehub.metrics.health import Health
from edgehub.metrics.server import MetricsListenError, MetricsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_h_021_both_paths_and_no_other(session: aiohttp.ClientSession) -> None:
    health = Health()
    server = MetricsServer(health, lambda: b"# text\n")
    port = await server.start("", 0)
    base = f"http://127.0.0.1:{port}"
    async with session.get(f"{base}/healthz") as answer:
        assert answer.status == 503
        assert (await answer.json())["status"] == "starting"
    health.started = True
    async with session.get(f"{base}/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with session.get(f"{base}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.read() == b"# text\n"
    async with session.get(f"{base}/") as answer:
        assert answer.status == 404
    await server.stop()
    await server.stop()


async def test_metrics_can_be_switched_off(session: aiohttp.ClientSession) -> None:
    server = MetricsServer(Health(), None)
    port = await server.start("127.0.0.1", 0)
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 404
    await server.stop()


async def test_totals_that_cannot_be_read_give_500(session: aiohttp.ClientSession) -> None:
    def fail() -> bytes:
        raise MetricsFormatError("totals of the core: odd")

    server = MetricsServer(Health(), fail)
    port = await server.start("127.0.0.1", 0)
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 500
        assert "odd" in await answer.text()
    await server.stop()


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricsListenError, match=f"127.0.0.1:{port}"):
            await MetricsServer(Health(), None).start("127.0.0.1", port)
