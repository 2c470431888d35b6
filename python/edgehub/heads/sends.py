"""Publishes to one client, with a word on what became of each.

The core tells the end of every one, also of those to a client that is gone: nothing here needs a time limit.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehub._core import SendDoneEvent
    from edgehub.hub.ports import SessionCore


class Sends:
    """Gives tokens to publishes and brings their outcomes back.

    There are never more open than the core has in flight, 64 per client, and those on their way to it.
    """

    def __init__(self, core: SessionCore) -> None:
        self._core = core
        self._tokens = itertools.count(1)
        self._open: dict[int, asyncio.Future[str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def send(
        self, conn: int, topic: str, payload: bytes, qos: int, *, created_ms: int | None = None
    ) -> asyncio.Future[str]:
        """Publishes once; sends to one client keep their order.

        :param created_ms: wall clock; only a subscription that is not younger gets it. None is now.
        :returns: the outcome, as in `SendDoneEvent`. Cancelling it changes nothing for the client.
        """
        token = next(self._tokens)
        done = self._open[token] = asyncio.get_running_loop().create_future()
        self._core.send(conn, topic, payload, qos, token=token, created_ms=created_ms)
        return done

    def on_done(self, event: SendDoneEvent) -> None:
        """An event of the core."""
        done = self._open.pop(event.token, None)
        if done is not None and not done.done():
            done.set_result(event.outcome)
