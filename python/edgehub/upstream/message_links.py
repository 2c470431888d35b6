"""Cloud-to-device messages of the parent hub over whatever connection stands."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgehub.protocol.cloud_messages import Settlement
from edgehub.upstream.followed_links import FollowedLinks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.protocol.cloud_messages import CloudMessage
    from edgehub.upstream.connection import UpstreamConnection
    from edgehub.upstream.message_channel import MessageChannel, ParentMessage

FAULT_WAIT_S: Final = 5.0
"""How long a message stays that a fault of ours kept from its device."""

log = logging.getLogger(__name__)


class MessageLinks(FollowedLinks):
    """Takes messages and settles them. Parameters as of `FollowedLinks`."""

    def __init__(
        self, connection: Callable[[], UpstreamConnection | None], flush: Callable[[], None]
    ) -> None:
        super().__init__(
            connection,
            flush,
            lambda link, identity, now, wanted: link.message_follow(identity, now, wanted=wanted),
        )
        self._serve: Callable[[str, CloudMessage], Awaitable[Settlement]] | None = None

    def serve_with(self, serve: Callable[[str, CloudMessage], Awaitable[Settlement]]) -> None:
        """Who takes messages: identity and message -> what becomes of it."""
        self._serve = serve

    def received(self, channel: MessageChannel, message: ParentMessage) -> None:
        """A message of the parent hub."""
        self._begin(self._take(channel, message))

    async def _take(self, channel: MessageChannel, message: ParentMessage) -> None:
        settlement = Settlement.NOTHING
        try:
            if self._serve is not None:
                settlement = await self._serve(message.identity, message.message)
        except Exception:
            log.exception("A message of the parent hub for %s failed", message.identity)
            # Given back at once it would be here again at once.
            await asyncio.sleep(FAULT_WAIT_S)
        finally:
            if channel.settle(message, settlement):
                self._flush()
            elif settlement is Settlement.COMPLETE:
                log.info("The parent hub is gone before it heard that %s has a message", message.identity)
