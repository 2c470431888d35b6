"""Links of identities that are followed, over whatever connection stands, and the work they bring."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from edgehub.upstream.connection import UpstreamConnection


class FollowedLinks:
    """What methods and messages of the parent hub have in common. Use from one event loop.

    :param connection: the connection that stands now, if any.
    :param flush: writes what an answer made.
    :param follow_on: tells a connection whom to follow: identity, monotonic time, whether or no longer.
    """

    def __init__(
        self,
        connection: Callable[[], UpstreamConnection | None],
        flush: Callable[[], None],
        follow_on: Callable[[UpstreamConnection, str, float, bool], None],
    ) -> None:
        self._connection = connection
        self._flush = flush
        self._follow_on = follow_on
        self._loop = asyncio.get_running_loop()
        self._followed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Takes what comes for an identity, or no longer; holds over lost connections."""
        if wanted == (identity in self._followed):
            return
        (self._followed.add if wanted else self._followed.discard)(identity)
        connection = self._connection()
        if connection is not None:
            self._follow_on(connection, identity, self._loop.time(), wanted)
            self._flush()

    def connection_up(self, connection: UpstreamConnection) -> None:
        """A new connection knows nothing of who is followed."""
        for identity in sorted(self._followed):
            self._follow_on(connection, identity, self._loop.time(), True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Something came; how much comes at once is bounded by the credit of each channel."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends what is under way; the other side hears nothing of it."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
