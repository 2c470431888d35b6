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
