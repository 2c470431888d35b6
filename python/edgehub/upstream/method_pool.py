"""Method channels of one connection: one for each client that listens for calls, and our own. Sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgehub.upstream.channel_pool import ChannelPool
from edgehub.upstream.method_channel import MethodChannel, MethodRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession
    from edgehub.upstream.settings import UpstreamSettings


class MethodPoolOwner(Protocol):
    """Hears calls, and what closing says about the connection."""

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method; `MethodChannel.answer` answers."""
        ...

    def operation_succeeded(self) -> None:
        """The parent is there."""
        ...

    def token_refused(self, identity: str) -> None:
        """The parent may no longer take our token, or not for this identity."""
        ...


class MethodPool(ChannelPool[MethodChannel]):
    """All channels. The parent calls those who are followed, and nobody else."""

    def __init__(
        self,
        engine: AmqpEngine,
        settings: UpstreamSettings,
        owner: MethodPoolOwner,
        random: Callable[[], float],
    ) -> None:
        super().__init__(engine, settings, owner, random, settings.method_sessions_max, self._make_channel)
        self._owner = owner

    def _make_channel(self, session: AmqpSession, identity: str, properties: dict[str, str]) -> MethodChannel:
        return MethodChannel(session, identity, properties, self)

    def _unfollowed(self, channel: MethodChannel) -> None:
        """Without links the parent knows that nobody is there."""
        self._close(channel)

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        if not link.remote_refused:
            self._works(link.tag.identity)
        super().on_attached(link)

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method."""
        self._owner.operation_succeeded()
        self._owner.method_request(channel, request)
