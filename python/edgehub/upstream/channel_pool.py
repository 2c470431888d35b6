"""Channels of one connection, one for each identity in use. Sans-IO.

They are opened when they are needed, opened again when the parent closed them, and closed when they are
quiet. Their number is limited: beyond, the one quiet longest gives way until it is needed again, first of
those that nobody follows.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from edgehub.protocol import amqp_errors
from edgehub.protocol.addresses import AddressError
from edgehub.upstream.backoff import Backoff
from edgehub.upstream.errors import UpstreamError, UpstreamOffline, UpstreamRefused
from edgehub.upstream.senders import link_properties, sessions_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_errors import AmqpFault
    from edgehub.protocol.amqp_events import Received
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession
    from edgehub.upstream.settings import UpstreamSettings

log = logging.getLogger(__name__)

IDLE_S: Final = 300.0
"""A channel that nobody follows is closed after this quiet time."""
_IDLE_CHECK_S: Final = 30.0
_REFUSED: Final = {amqp_errors.UNAUTHORIZED: 401, amqp_errors.NOT_FOUND: 404}


class Channel(Protocol):
    """The links of one identity; both have it as their tag."""

    identity: str
    last_used: float

    @property
    def waiting(self) -> int:
        """What would be lost if it were closed now."""
        ...

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        ...

    def on_credit(self) -> None:
        """The parent granted credit."""
        ...

    def on_message(self, event: Received) -> None:
        """A message came, which has to be settled."""
        ...

    def deadline(self) -> float | None:
        """When to call `on_deadline`."""
        ...

    def on_deadline(self, now: float) -> None:
        """Time-outs."""
        ...

    def fail(self, error: UpstreamError) -> None:
        """Closes the links; everything that waits fails."""
        ...


C = TypeVar("C", bound=Channel)


class ChannelOwner(Protocol):
    """Hears what closing says about the connection."""

    def token_refused(self, identity: str) -> None:
        """The parent may no longer take our token, or not for this identity."""
        ...


class ChannelPool(Generic[C]):
    """All channels of one kind.

    :param sessions_max: of the settings; half of what the parent allows if that is less.
    :param make: makes a channel from a session, an identity and properties of its links.
    """

    def __init__(
        self,
        engine: AmqpEngine,
        settings: UpstreamSettings,
        owner: ChannelOwner,
        random: Callable[[], float],
        sessions_max: int,
        make: Callable[[AmqpSession, str, dict[str, str]], C],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._channel_owner = owner
        self._sessions_max = sessions_max
        self._make = make
        self._backoff = Backoff(settings.hold_min_s, settings.hold_max_s, random)
        self._channels: OrderedDict[str, C] = OrderedDict()  # least recently used first
        self._busy: dict[str, C] = {}
        self._followed: set[str] = set()
        self._failures: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self._idle_check_at = 0.0
        self._now = 0.0

    # ---- who is needed

    def follow(self, identity: str, now: float, *, wanted: bool) -> None:
        """Keeps a channel open, now and whenever the parent closed it, or no longer."""
        self._now = now
        if not wanted:
            self._followed.discard(identity)
            self._retry_at.pop(identity, None)
            self._failures.pop(identity, None)
            channel = self._channels.get(identity)
            if channel is not None:
                self._unfollowed(channel)
            return
        self._followed.add(identity)
        try:
            self._follow_on(self._used(identity, now))
        except UpstreamError as error:
            self._retry_later(identity, error)

    def _follow_on(self, channel: C) -> None:
        """A channel that is followed was opened or used."""

    def _unfollowed(self, channel: C) -> None:
        """Nobody follows it any more."""

    def _used(self, identity: str, now: float) -> C:
        """The channel of an identity, opened if it has to be.

        :raises UpstreamRefused: the identity is not in our scope.
        :raises UpstreamOffline: there is no room for it.
        """
        self._now = now
        channel = self._channels.get(identity)
        if channel is None:
            channel = self._open(identity)
            if identity in self._followed:
                self._follow_on(channel)
        channel.last_used = now
        self._channels.move_to_end(identity)
        self._busy[identity] = channel
        return channel

    def _open(self, identity: str) -> C:
        settings = self._settings
        try:
            chain = settings.chain_of(identity)
        except AddressError:
            chain = None
        if chain is None:
            raise UpstreamRefused(f"{identity} is not in the scope of this device", 404)
        self._make_room()
        properties = link_properties(settings.product_info, chain)
        channel = self._make(self._engine.new_session(), identity, properties)
        self._channels[identity] = channel
        return channel

    def _make_room(self) -> None:
        limit = sessions_share(self._sessions_max, self._engine)
        if len(self._channels) < limit:
            return
        quiet = [channel for channel in self._channels.values() if not channel.waiting]
        # Who is followed misses something, and gives way last; the sort keeps the order of use.
        for channel in sorted(quiet, key=lambda channel: channel.identity in self._followed):
            if channel.identity != self._settings.identity:
                self._close(channel)
                return
        raise UpstreamOffline(f"{limit} channels are in use")

    def _close(self, channel: C) -> None:
        self._forget(channel)
        channel.fail(UpstreamOffline("the channel was not used"))

    def _forget(self, channel: C) -> None:
        del self._channels[channel.identity]
        self._busy.pop(channel.identity, None)

    def _retry_later(self, identity: str, error: UpstreamError) -> None:
        """Who is followed is tried again after a while."""
        failures = self._failures[identity] = self._failures.get(identity, 0) + 1
        log.log(
            logging.INFO if failures == 1 else logging.DEBUG, "%s cannot be followed yet: %s", identity, error
        )
        self._retry_at[identity] = self._now + self._backoff.wait_s(failures)

    def _works(self, identity: str) -> None:
        """The parent does what was asked of it."""
        self._failures.pop(identity, None)

    # ---- word from the engine; `link.tag` is the channel

    def owns(self, link: AmqpLink) -> bool:
        """Whether a link belongs to a channel of this pool that is open."""
        identity = getattr(link.tag, "identity", None)
        return identity is not None and self._channels.get(identity) is link.tag

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        link.tag.on_attached(link)

    def on_credit(self, link: AmqpLink) -> None:
        """The parent granted credit."""
        link.tag.on_credit()

    def on_message(self, event: Received, now: float) -> None:
        """A message came on a channel."""
        self._now = now
        channel: C = event.link.tag
        channel.on_message(event)
        if not channel.waiting:
            self._busy.pop(channel.identity, None)

    def on_closed(self, link: AmqpLink, fault: AmqpFault | None, now: float) -> None:
        """The parent closed a link or refused it: what waits fails; who is followed is tried again."""
        self._now = now
        channel: C = link.tag
        self._forget(channel)
        text = f"the parent hub closed the link of {channel.identity}: {fault or 'no reason given'}"
        status = _REFUSED.get(fault.condition) if fault is not None else None
        error = UpstreamOffline(text) if status is None else UpstreamRefused(text, status)
        channel.fail(error)
        if channel.identity in self._followed:
            self._retry_later(channel.identity, error)
        if status == 401:
            self._channel_owner.token_refused(channel.identity)

    def fail(self, error: UpstreamError) -> None:
        """The connection is gone."""
        channels = list(self._channels.values())
        self._channels.clear()
        self._busy.clear()
        self._retry_at.clear()
        for channel in channels:
            channel.fail(error)

    # ---- time

    def deadline(self) -> float | None:
        """When to call `on_deadline`."""
        times = [deadline for channel in self._busy.values() if (deadline := channel.deadline()) is not None]
        times += self._retry_at.values()
        if self._channels:
            times.append(self._idle_check_at)
        return min(times, default=None)

    def on_deadline(self, now: float) -> None:
        """Time-outs, channels to be opened again, quiet channels."""
        self._now = now
        for channel in list(self._busy.values()):
            channel.on_deadline(now)
            if not channel.waiting:
                self._busy.pop(channel.identity, None)
        for identity in [identity for identity, at in self._retry_at.items() if at <= now]:
            del self._retry_at[identity]
            self.follow(identity, now, wanted=True)
        if now >= self._idle_check_at:
            self._idle_check_at = now + _IDLE_CHECK_S
            self._close_idle(now)

    def _close_idle(self, now: float) -> None:
        for channel in list(self._channels.values()):
            if channel.last_used > now - IDLE_S:
                return
            if not channel.waiting and channel.identity not in self._followed:
                self._close(channel)
