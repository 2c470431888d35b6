"""The link to the parent hub on asyncio, against a server that hangs up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from edgehub.upstream import client
from edgehub.upstream.connection import UpstreamConnection
from unit.edgehub.upstream.test_upstream_policy import settings
from unit.edgehub.upstream.upstream_fakes import FakeSource

OPERATION_S = 17.0


@pytest.fixture
def no_collection() -> Any:
    """Python does not look for circles by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends a connection at once."""
    writer.close()


@pytest.mark.usefixtures("no_collection")
async def test_a_lost_link_is_freed_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[weakref.ref[Any]] = []
    thrice = asyncio.Event()

    class Recorded(UpstreamConnection):
        def __init__(self, *parts: Any, **clocks: Any) -> None:
            super().__init__(*parts, **clocks)
            engines.append(weakref.ref(self.engine))
            self._owner.connection_up()
            if len(engines) == 3:
                thrice.set()

    monkeypatch.setattr(client, "UpstreamConnection", Recorded)
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = client.AmqpUpstream(
        settings(host="127.0.0.1", port=port, tls=None, reconnect_min_s=0.01, reconnect_max_s=0.01),
        FakeSource(),
    )
    await link.start()
    async with asyncio.timeout(20):
        await thrice.wait()
    assert [engine() for engine in engines[:2]] == [None, None]
    await link.stop()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("failure", "longest_s"),
    [(ConnectionRefusedError("refused"), client.REFUSED_WAIT_MAX_S), (OSError("no route to host"), 30.0)],
)
async def test_a_parent_that_refuses_is_asked_again_soon(
    monkeypatch: pytest.MonkeyPatch, failure: OSError, longest_s: float
) -> None:
    waits: list[float] = []
    enough = asyncio.Event()

    async def no_connection(*_parts: Any, **_options: Any) -> None:
        raise failure

    def at_once(wait_s: float) -> asyncio.Timeout:
        if wait_s != OPERATION_S:
            waits.append(wait_s)
            wait_s = 0.0
        if len(waits) == 12:
            enough.set()
        return timeout(wait_s)

    timeout = asyncio.timeout
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_connection)
    monkeypatch.setattr(asyncio, "timeout", at_once)
    link = client.AmqpUpstream(
        settings(tls=None, operation_timeout_s=OPERATION_S), FakeSource(), random_source=lambda: 0.5
    )
    await link.start()
    await enough.wait()
    await link.stop()
    assert waits[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert waits[11] == longest_s
