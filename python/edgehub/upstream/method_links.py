"""Method calls of the parent hub over whatever connection stands."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.upstream.connection import UpstreamConnection
    from edgehub.upstream.method_channel import MethodChannel, MethodRequest

log = logging.getLogger(__name__)


class MethodLinks:
    """Use from one event loop. The calls at once are bounded by the credit of each channel.

    :param connection: the connection that stands now, if any.
    :param flush: writes what an answer made.
    """

    def __init__(
        self, connection: Callable[[], UpstreamConnection | None], flush: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._followed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]] | None = None

    def serve_with(self, serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]) -> None:
        """Who answers: identity, name and payload -> status and payload. It does not raise."""
        self._serve = serve

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Takes calls to an identity, or no longer; holds over lost connections."""
        if wanted == (identity in self._followed):
            return
        (self._followed.add if wanted else self._followed.discard)(identity)
        connection = self._connection()
        if connection is not None:
            connection.method_follow(identity, self._loop.time(), wanted=wanted)
            self._flush()

    def connection_up(self, connection: UpstreamConnection) -> None:
        """A new connection knows nothing of who listens."""
        for identity in sorted(self._followed):
            connection.method_follow(identity, self._loop.time(), wanted=True)

    def requested(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method."""
        task = self._loop.create_task(self._answer(channel, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends the calls that are under way; their callers hear nothing."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, channel: MethodChannel, request: MethodRequest) -> None:
        if self._serve is None:
            status, payload = 404, b""
        else:
            status, payload = await self._serve(request.identity, request.name, request.payload)
        if channel.answer(request, status, payload):
            self._flush()
        else:
            log.info("The parent hub is gone before the answer of %s to its call", request.identity)
