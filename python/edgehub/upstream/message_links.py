"""Cloud-to-device messages of the parent hub over whatever connection stands."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgehub.protocol.cloud_messages import Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.protocol.cloud_messages import CloudMessage
    from edgehub.upstream.connection import UpstreamConnection
    from edgehub.upstream.message_channel import MessageChannel, ParentMessage

log = logging.getLogger(__name__)


class MessageLinks:
    """Use from one event loop. The messages at once are bounded by the credit of each channel.

    :param connection: the connection that stands now, if any.
    :param flush: writes what a settlement made.
    """

    def __init__(
        self, connection: Callable[[], UpstreamConnection | None], flush: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._followed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serve: Callable[[str, CloudMessage], Awaitable[Settlement]] | None = None

    def serve_with(self, serve: Callable[[str, CloudMessage], Awaitable[Settlement]]) -> None:
        """Who takes messages: identity and message -> what becomes of it."""
        self._serve = serve

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Takes messages for an identity, or no longer; holds over lost connections."""
        if wanted == (identity in self._followed):
            return
        (self._followed.add if wanted else self._followed.discard)(identity)
        connection = self._connection()
        if connection is not None:
            connection.message_follow(identity, self._loop.time(), wanted=wanted)
            self._flush()

    def connection_up(self, connection: UpstreamConnection) -> None:
        """A new connection knows nothing of who takes messages."""
        for identity in sorted(self._followed):
            connection.message_follow(identity, self._loop.time(), wanted=True)

    def received(self, channel: MessageChannel, message: ParentMessage) -> None:
        """A message of the parent hub."""
        task = self._loop.create_task(self._take(channel, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends what is under way; the parent hub has it still."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, channel: MessageChannel, message: ParentMessage) -> None:
        settlement = Settlement.NOTHING
        try:
            if self._serve is not None:
                settlement = await self._serve(message.identity, message.message)
        finally:
            if channel.settle(message, settlement):
                self._flush()
            elif settlement is Settlement.COMPLETE:
                log.info("The parent hub is gone before it heard that %s has a message", message.identity)
