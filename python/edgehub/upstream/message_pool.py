"""Message channels of one connection: one for each device that subscribes to cloud-to-device messages.
Sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgehub.upstream.channel_pool import ChannelPool
from edgehub.upstream.message_channel import MessageChannel, ParentMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession
    from edgehub.upstream.settings import UpstreamSettings


class MessagePoolOwner(Protocol):
    """Hears messages, and what closing says about the connection."""

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """A message; `MessageChannel.settle` ends it."""
        ...

    def operation_succeeded(self) -> None:
        """The parent is there."""
        ...

    def token_refused(self, identity: str) -> None:
        """The parent may no longer take our token, or not for this identity."""
        ...


class MessagePool(ChannelPool[MessageChannel]):
    """All channels. A link stands while somebody is there who takes the messages, and not longer."""

    def __init__(
        self,
        engine: AmqpEngine,
        settings: UpstreamSettings,
        owner: MessagePoolOwner,
        random: Callable[[], float],
    ) -> None:
        super().__init__(engine, settings, owner, random, settings.message_sessions_max, self._make_channel)
        self._owner = owner

    def _make_channel(
        self, session: AmqpSession, identity: str, properties: dict[str, str]
    ) -> MessageChannel:
        return MessageChannel(session, identity, properties, self)

    def _unfollowed(self, channel: MessageChannel) -> None:
        """Without link the parent keeps the messages."""
        self._close(channel)

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        if not link.remote_refused:
            self._works(link.tag.identity)
        super().on_attached(link)

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """From a channel."""
        self._owner.operation_succeeded()
        self._owner.cloud_message(channel, message)
