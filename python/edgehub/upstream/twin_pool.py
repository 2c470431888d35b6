"""Twin channels of one connection: our own, and one for each client whose twin is used. Sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgehub.upstream.channel_pool import ChannelPool
from edgehub.upstream.errors import UpstreamError
from edgehub.upstream.twin_channel import TwinChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_handles import AmqpSession
    from edgehub.upstream.settings import UpstreamSettings
    from edgehub.upstream.twin_channel import TwinAnswer


class TwinPoolOwner(Protocol):
    """Hears results, and what they say about the connection."""

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A request ended."""
        ...

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """Desired properties of an identity changed."""
        ...

    def desired_missed(self, identity: str) -> None:
        """Desired properties may have changed unseen while an identity could not be followed."""
        ...

    def operation_succeeded(self) -> None:
        """The parent answered."""
        ...

    def operation_timed_out(self, started_at: float) -> None:
        """The parent did not answer in time."""
        ...

    def token_refused(self, identity: str) -> None:
        """The parent may no longer take our token, or not for this identity."""
        ...


class TwinPool(ChannelPool[TwinChannel]):
    """All channels. Requests are numbered by the caller, from 0 on; numbers come back in `twin_done`.

    Who is followed is subscribed to desired patches.
    """

    def __init__(
        self,
        engine: AmqpEngine,
        settings: UpstreamSettings,
        owner: TwinPoolOwner,
        random: Callable[[], float],
    ) -> None:
        super().__init__(engine, settings, owner, random, settings.twin_sessions_max, self._make_twin)
        self._owner = owner
        self._subscribing: dict[int, str] = {}
        """Our own requests, numbered from -1 downwards."""
        self._own_request = 0

    def _make_twin(self, session: AmqpSession, identity: str, properties: dict[str, str]) -> TwinChannel:
        return TwinChannel(session, identity, properties, self, self._settings.operation_timeout_s)

    def get(self, identity: str, request: int, now: float) -> None:
        """Reads a twin.

        :raises UpstreamRefused: the identity is not in our scope.
        :raises UpstreamOffline: there is no room for its channel.
        """
        self._used(identity, now).get(request, now)

    def report(self, identity: str, request: int, patch: bytes, now: float) -> None:
        """Sends a reported patch (JSON).

        :raises UpstreamRefused: the identity is not in our scope.
        :raises UpstreamOffline: there is no room for its channel.
        """
        self._used(identity, now).report(request, now, patch)

    def _follow_on(self, channel: TwinChannel) -> None:
        if not channel.subscribed:
            self._subscribe(channel, wanted=True)

    def _unfollowed(self, channel: TwinChannel) -> None:
        if channel.subscribed:
            self._subscribe(channel, wanted=False)

    def _subscribe(self, channel: TwinChannel, *, wanted: bool) -> None:
        self._busy[channel.identity] = channel
        self._own_request -= 1
        self._subscribing[self._own_request] = channel.identity
        channel.subscribe(self._own_request, self._now, wanted=wanted)

    # ---- word from the channels

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A request ended."""
        identity = self._subscribing.pop(request, None)
        if identity is None:
            self._owner.twin_done(request, result)
            return
        channel = self._channels.get(identity)
        if not isinstance(result, UpstreamError):
            late = identity in self._failures
            self._works(identity)
            if late:
                self._owner.desired_missed(identity)
        elif channel is not None and identity in self._followed:
            channel.subscribed = False
            self._retry_later(identity, result)

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """Desired properties changed."""
        self._owner.desired_patch(identity, patch)

    def operation_succeeded(self) -> None:
        """The parent answered."""
        self._owner.operation_succeeded()

    def operation_timed_out(self, started_at: float) -> None:
        """The parent did not answer in time."""
        self._owner.operation_timed_out(started_at)
