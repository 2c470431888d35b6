"""Senders of the connection: a session and an events link each, one batch in flight each. Sans-IO.

Life of a batch: taken → link attached if needed → sent when there is credit → disposition →
settled. A refusal that may pass (throttling, lost link, no answer) holds the *sender*: its batch stays lent,
so nothing of it is taken meanwhile, and goes back to the queue when the wait is over, where expiry is judged
anew. A batch that is refused for good is sent again message by message, so that one bad message does not take
the others along.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.protocol import amqp_errors
from edgehub.protocol.addresses import AddressError, Node, node_address, split_identity
from edgehub.protocol.amqp_batch import split_batch
from edgehub.protocol.amqp_errors import FATAL_FOR_MESSAGE, AmqpFault
from edgehub.protocol.amqp_types import AmqpDecodeError
from edgehub.upstream.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_events import Outcome
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink, AmqpSession
    from edgehub.upstream.settings import UpstreamSettings
    from edgehub.upstream.source import Settlement, UpstreamBatch, UpstreamSource
    from edgehub.upstream.stats import UpstreamStats

log = logging.getLogger(__name__)

LINK_NAME: Final = "TelemetrySenderLink"
API_VERSION: Final = "2020-09-30"
_RESERVED_CHANNELS: Final = 4
_KINDS: Final = 4
_IDLE_CHECK_S: Final = 30.0
NOT_IN_SCOPE: Final = AmqpFault(amqp_errors.NOT_FOUND, "the sender is not in the scope of this device")


def sessions_share(wanted: int, engine: AmqpEngine) -> int:
    """Sessions for senders, twins, methods or messages: the same share of what the parent allows for each, at
    most what we want."""
    return min(wanted, (engine.sessions_max - _RESERVED_CHANNELS) // _KINDS)


def link_properties(product_info: str, chain: str) -> dict[str, str]:
    """Properties of a link that we attach."""
    properties = {"com.microsoft:client-version": product_info, "com.microsoft:api-version": API_VERSION}
    if chain:
        properties["com.microsoft:auth-chain"] = chain
    return properties


class PoolOwner(Protocol):
    """Hears what sending says about the connection."""

    def operation_succeeded(self) -> None:
        """The parent answered a send."""
        ...

    def operation_timed_out(self, started_at: float) -> None:
        """The parent did not answer a send in time."""
        ...

    def token_refused(self, identity: str) -> None:
        """The parent takes our token no more, or not for this identity."""
        ...

    def hub_gone(self, fault: AmqpFault) -> None:
        """The hub is failing over: a new connection is needed."""
        ...


@dataclass(slots=True)
class _Flight:
    """A batch under way.

    :ivar singles: extents still to be sent one by one, after a refusal of the whole.
    :ivar sent_at: when the transfer went out, None while it waits for the link.
    :ivar overdue: the first time-out has passed and the connection is being probed.
    """

    batch: UpstreamBatch
    deadline: float
    delivery: AmqpDelivery | None = None
    singles: deque[tuple[int, int]] | None = None
    sent_at: float | None = None
    overdue: bool = False
    delivered: int = 0
    rejected: int = 0


@dataclass(slots=True)
class _Sender:
    """One client identity on this connection."""

    identity: str
    session: AmqpSession | None = None
    link: AmqpLink | None = None
    attached: bool = False
    flight: _Flight | None = None
    held_until: float | None = None
    held_token: int = 0
    failures: int = 0
    last_used: float = field(default=0.0)


class SenderPool:
    """All senders of one connection.

    :param random: numbers in [0, 1) for jitter.
    """

    def __init__(
        self,
        engine: AmqpEngine,
        source: UpstreamSource,
        settings: UpstreamSettings,
        stats: UpstreamStats,
        owner: PoolOwner,
        random: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._source = source
        self._settings = settings
        self._stats = stats
        self._owner = owner
        self._backoff = Backoff(settings.hold_min_s, settings.hold_max_s, random)
        self._senders: OrderedDict[str, _Sender] = OrderedDict()  # least recently used first
        self._held: dict[str, _Sender] = {}
        self._flying: dict[str, _Sender] = {}
        self._idle_check_at = 0.0
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Batches that wait for a disposition."""
        return len(self._flying)

    # ---- taking and sending

    def pump(self, now: float) -> None:
        """Takes batches while there is room and sends what can be sent."""
        settings = self._settings
        while not self._draining:
            room = settings.fan_out - len(self._flying)
            if room <= 0:
                return
            batches = self._source.take(settings.batch_msgs_max, settings.batch_bytes_max, room)
            for batch in batches:
                self._begin(batch, now)
            if len(batches) < room:
                return

    def drain(self) -> None:
        """Takes no more; what is in flight may finish."""
        self._draining = True

    def _begin(self, batch: UpstreamBatch, now: float) -> None:
        sender = self._senders.get(batch.sender)
        if sender is None:
            sender = self._senders[batch.sender] = _Sender(batch.sender)
        self._senders.move_to_end(batch.sender)
        sender.last_used = now
        sender.flight = _Flight(batch, now + self._settings.operation_timeout_s)
        self._flying[batch.sender] = sender
        if sender.link is None:
            self._attach(sender, now)
        else:
            self._send(sender, now)

    def _attach(self, sender: _Sender, now: float) -> None:
        chain = self._settings.chain_of(sender.identity)
        try:
            device_id, module_id = split_identity(sender.identity)
        except AddressError:
            chain = None
        if chain is None:
            self._hold(sender, NOT_IN_SCOPE, now)
            return
        self._make_room()
        sender.session = self._engine.new_session()
        address = node_address(Node.EVENTS, device_id, module_id)
        properties = link_properties(self._settings.product_info, chain)
        sender.link = sender.session.attach_sender(LINK_NAME, address, properties=properties)
        sender.link.tag = sender
        sender.attached = False

    def _make_room(self) -> None:
        """Closes the session quiet longest when there are too many; those in flight are never more than
        allowed."""
        limit = sessions_share(self._settings.sessions_max, self._engine)
        open_senders = [sender for sender in self._senders.values() if sender.session is not None]
        surplus = len(open_senders) + 1 - limit
        for sender in (sender for sender in open_senders if sender.flight is None):
            if surplus <= 0:
                return
            self._close_session(sender)
            self._forget_if_idle(sender)
            surplus -= 1

    def _send(self, sender: _Sender, now: float) -> None:
        """Sends what is next if the link is open and has credit."""
        flight, link = sender.flight, sender.link
        if flight is None or link is None or not sender.attached or flight.delivery is not None:
            return
        if link.credit <= 0:
            return
        bytes_max = link.remote_message_bytes_max
        while bytes_max and self._next_bytes(flight) > bytes_max:
            text = f"the parent hub takes {bytes_max} bytes at most"
            self._drop_next(sender, flight, AmqpFault(amqp_errors.MESSAGE_SIZE, text))
            if not flight.singles:
                self._next_single(sender, flight, now)
                return
        if flight.singles:
            start, end = flight.singles[0]
            flight.delivery = link.send(flight.batch.payload[start:end])
        else:
            flight.delivery = link.send(flight.batch.payload, message_format=flight.batch.message_format)
        if flight.delivery is not None:
            flight.delivery.tag = sender
            flight.sent_at = now
            flight.deadline = now + self._settings.operation_timeout_s

    @staticmethod
    def _next_bytes(flight: _Flight) -> int:
        if flight.singles:
            start, end = flight.singles[0]
            return end - start
        return len(flight.batch.payload)

    # ---- word from the engine

    def on_attached(self, link: AmqpLink, now: float) -> None:
        """The parent answered an attach."""
        sender = link.tag
        if isinstance(sender, _Sender) and sender.link is link and not link.remote_refused:
            sender.attached = True
            self._send(sender, now)

    def on_credit(self, link: AmqpLink, now: float) -> None:
        """The parent granted credit."""
        if isinstance(link.tag, _Sender) and link.tag.link is link:
            self._send(link.tag, now)

    def on_closed(self, link: AmqpLink, fault: AmqpFault | None, now: float) -> None:
        """The parent detached a link, or refused it."""
        sender = link.tag
        if not isinstance(sender, _Sender) or sender.link is not link:
            return
        flight = sender.flight
        was_sent = flight is not None and flight.delivery is not None
        self._close_session(sender)
        reason = fault or AmqpFault(amqp_errors.DETACH_FORCED, "the link was closed")
        self._judge_connection(sender.identity, reason)
        if flight is None:
            self._forget_if_idle(sender)
        elif was_sent and reason.condition == amqp_errors.MESSAGE_SIZE:
            # A hub may answer a message that is too large by closing the link: trying it again would never
            # end.
            self._on_refused(sender, flight, reason, now)
        else:
            self._hold(sender, reason, now)

    def _judge_connection(self, identity: str, fault: AmqpFault) -> None:
        if fault.condition == amqp_errors.UNAUTHORIZED:
            self._owner.token_refused(identity)
        elif fault.condition == amqp_errors.HUB_NOT_FOUND:
            self._owner.hub_gone(fault)

    def on_disposed(self, delivery: AmqpDelivery, outcome: Outcome, now: float) -> None:
        """The parent decided about a transfer."""
        sender = delivery.tag
        if not isinstance(sender, _Sender) or sender.flight is None or sender.flight.delivery is not delivery:
            return
        flight = sender.flight
        flight.delivery = None
        self._owner.operation_succeeded()
        if outcome.kind == "accepted":
            self._on_accepted(sender, flight, now)
        elif outcome.kind == "rejected" and _is_fatal(outcome):
            self._on_refused(sender, flight, outcome.fault or AmqpFault("unknown"), now)
        else:
            fault = outcome.fault or AmqpFault(outcome.kind, "the parent hub did not take the message")
            self._judge_connection(sender.identity, fault)
            self._hold(sender, fault, now)

    def _on_accepted(self, sender: _Sender, flight: _Flight, now: float) -> None:
        self._stats.batches += 1
        self._stats.send_seconds += now - (flight.sent_at or now)
        if flight.singles:
            flight.singles.popleft()
            flight.delivered += 1
            self._next_single(sender, flight, now)
        else:
            flight.delivered = flight.batch.count
            self._finish(sender, "delivered", now)

    def _on_refused(self, sender: _Sender, flight: _Flight, fault: AmqpFault, now: float) -> None:
        self._drop_next(sender, flight, fault)
        self._next_single(sender, flight, now)

    def _drop_next(self, sender: _Sender, flight: _Flight, fault: AmqpFault) -> None:
        """What was to be sent is refused for good: a batch is taken apart, a single message is counted as
        lost."""
        if flight.singles:
            flight.singles.popleft()
        elif flight.batch.count > 1 and self._split(flight):
            return
        count = 1 if flight.singles is not None else flight.batch.count
        flight.rejected += count
        self._stats.count_rejected(fault.condition, count)
        log.warning("the parent hub refused %d message(s) of %s for good: %s", count, sender.identity, fault)

    @staticmethod
    def _split(flight: _Flight) -> bool:
        try:
            flight.singles = deque(split_batch(flight.batch.payload))
        except AmqpDecodeError as error:
            log.error("a batch of %s cannot be taken apart: %s", flight.batch.sender, error)
            return False
        return True

    def _next_single(self, sender: _Sender, flight: _Flight, now: float) -> None:
        if flight.singles:
            flight.deadline = now + self._settings.operation_timeout_s
            flight.overdue = False
            if sender.link is None:
                self._attach(sender, now)
            else:
                self._send(sender, now)
        else:
            self._finish(sender, "delivered" if flight.delivered else "rejected", now)

    def _finish(self, sender: _Sender, outcome: Settlement, now: float) -> None:
        """Ends a flight; the caller pumps once for all that happened."""
        flight = sender.flight
        if flight is None:
            return
        sender.flight = None
        sender.failures = 0
        sender.last_used = now
        del self._flying[sender.identity]
        if flight.delivered:
            self._stats.count_sent(sender.identity, flight.delivered)
        self._source.settle(flight.batch.token, outcome)

    # ---- waiting

    def _hold(self, sender: _Sender, fault: AmqpFault, now: float) -> None:
        """Puts a sender off; its batch stays lent until the wait is over, its bytes are dropped now."""
        flight = sender.flight
        if flight is None:
            return
        sender.flight = None
        sender.failures += 1
        del self._flying[sender.identity]
        self._stats.retried += 1
        if flight.delivered:
            self._stats.count_sent(sender.identity, flight.delivered)
        if len(self._held) >= self._settings.held_max:
            self._source.settle(flight.batch.token, "retry")
            return
        wait_s = self._backoff.wait_s(sender.failures)
        if sender.failures == 1:
            log.warning("messages of %s wait %.1f s: %s", sender.identity, wait_s, fault)
        sender.held_until = now + wait_s
        sender.held_token = flight.batch.token
        self._held[sender.identity] = sender

    def release_held(self) -> None:
        """Ends all waits at once: the scope or the network has changed."""
        for sender in list(self._held.values()):
            self._release(sender)

    def _release(self, sender: _Sender) -> None:
        del self._held[sender.identity]
        sender.held_until = None
        self._source.settle(sender.held_token, "retry")

    # ---- time

    def deadline(self) -> float | None:
        """When to call `on_deadline`."""
        times = [sender.flight.deadline for sender in self._flying.values() if sender.flight is not None]
        times += [sender.held_until for sender in self._held.values() if sender.held_until is not None]
        if self._senders:
            times.append(self._idle_check_at)
        return min(times, default=None)

    def on_deadline(self, now: float) -> None:
        """Time-outs, ends of waits, quiet sessions."""
        for sender in [sender for sender in self._held.values() if (sender.held_until or 0.0) <= now]:
            self._release(sender)
        for sender in list(self._flying.values()):
            if sender.flight is not None and sender.flight.deadline <= now:
                self._on_overdue(sender, sender.flight, now)
        if now >= self._idle_check_at:
            self._idle_check_at = now + min(_IDLE_CHECK_S, self._settings.sender_idle_s)
            self._close_idle(now)

    def _on_overdue(self, sender: _Sender, flight: _Flight, now: float) -> None:
        """First the connection is suspected and probed; if it lives, this one link is the trouble."""
        if not flight.overdue:
            flight.overdue = True
            flight.deadline = now + self._settings.operation_timeout_s * 1.5
            self._owner.operation_timed_out(flight.sent_at or now)
            return
        self._close_session(sender)
        self._hold(sender, AmqpFault(amqp_errors.TIMEOUT, "the parent hub did not answer on this link"), now)

    def _close_idle(self, now: float) -> None:
        limit = now - self._settings.sender_idle_s
        for sender in list(self._senders.values()):
            if sender.flight is None and sender.held_until is None and sender.last_used <= limit:
                self._close_session(sender)
                self._forget_if_idle(sender)

    def _close_session(self, sender: _Sender) -> None:
        if sender.session is not None:
            sender.session.close()
        sender.session = sender.link = None
        sender.attached = False
        if sender.flight is not None:
            sender.flight.delivery = None

    def _forget_if_idle(self, sender: _Sender) -> None:
        if sender.flight is None and sender.held_until is None and sender.session is None:
            self._senders.pop(sender.identity, None)


def _is_fatal(outcome: Outcome) -> bool:
    return outcome.fault is not None and outcome.fault.condition in FATAL_FOR_MESSAGE
