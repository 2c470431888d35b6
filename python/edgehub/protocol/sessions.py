"""MQTT session rules: what survives a connection, and how subscriptions change (heads spec 1.2.4, 1.3).

A session here is only its subscriptions; it keeps no messages. Sessions never expire by time. What to
write is decided here, the writing is done elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edgehub.errors import EdgehubError
from edgehub.protocol.topics import SubscriptionKind, classify_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgehub.common.json_types import Json

QOS_MAX = 1
FILTERS_MAX = 100
"""Subscriptions of one session; one more is refused with 0x80. SDK clients hold fewer than ten."""
FILTER_CHARS_MAX = 1024
"""Longest filter; a longer one is refused with 0x80."""
SUBACK_FAILURE = 0x80

_FORMAT = 1


class SessionFormatError(EdgehubError):
    """A stored session that cannot be read."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A filter's grant.

    :param qos: granted quality of service.
    :param created_ms: wall clock of the first SUBSCRIBE; re-subscribing keeps it.
    """

    qos: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class SubscribeOutcome:
    """Answer to one SUBSCRIBE.

    :param codes: one SUBACK code per requested filter, in order.
    :param added: filters to hand to the core, with granted quality of service and time of creation.
    :param changed: whether the session differs from before and has to be stored again.
    """

    codes: bytes
    added: tuple[tuple[str, int, int], ...]
    changed: bool


@dataclass(slots=True)
class Session:
    """The subscriptions of one client.

    :param durable: whether the client asked for a session that outlives the connection (clean session 0).
    :param stored: whether it has been stored before.
    """

    durable: bool
    stored: bool = False
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    @property
    def inputs_active(self) -> bool:
        """Whether any filter asks for module messages."""
        return bool(self.subscriptions) and SubscriptionKind.MODULE_MESSAGES in self.kinds()

    def kinds(self) -> frozenset[SubscriptionKind]:
        """Kinds of all filters."""
        return frozenset(classify_filter(topic_filter) for topic_filter in self.subscriptions)

    def granted(self) -> list[tuple[str, int, int]]:
        """All filters with their granted quality of service and time of creation."""
        return [(name, item.qos, item.created_ms) for name, item in self.subscriptions.items()]

    def subscribe(
        self,
        filters: Sequence[tuple[str, int]],
        now_ms: int,
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> SubscribeOutcome:
        """Adds or changes filters; grants min(requested, 1), also to filters nobody serves (M-024).

        :param allowed: whether a new filter may be had; one that may not gets 0x80.
        """
        codes = bytearray()
        added: dict[str, Subscription] = {}
        changed = False
        for topic_filter, requested_qos in filters:
            before = self.subscriptions.get(topic_filter)
            if before is None and not (self._has_room(topic_filter) and allowed(topic_filter)):
                codes.append(SUBACK_FAILURE)
                continue
            qos = min(requested_qos, QOS_MAX)
            after = Subscription(qos, before.created_ms if before else now_ms)
            changed |= after != before
            self.subscriptions[topic_filter] = after
            added[topic_filter] = after
            codes.append(qos)
        grants = tuple((name, item.qos, item.created_ms) for name, item in added.items())
        return SubscribeOutcome(bytes(codes), grants, changed)

    def unsubscribe(self, filters: Iterable[str]) -> bool:
        """Removes filters; True if any of them was there."""
        removed = [self.subscriptions.pop(topic_filter, None) for topic_filter in filters]
        return any(item is not None for item in removed)

    def must_store(self, *, changed: bool) -> bool:
        """Whether a SUBSCRIBE or UNSUBSCRIBE has to be stored before it is answered.

        A durable session comes into being with the first of them, even if it leaves no filter.
        """
        return self.durable and (changed or not self.stored)

    def _has_room(self, topic_filter: str) -> bool:
        return len(topic_filter) <= FILTER_CHARS_MAX and len(self.subscriptions) < FILTERS_MAX


class SessionOpening(NamedTuple):
    """What CONNECT does to a session.

    :param present: the session-present flag of CONNACK.
    :param forget_stored: the stored session has to be deleted before CONNACK.
    """

    session: Session
    present: bool
    forget_stored: bool


def open_session(*, clean: bool, stored: Session | None) -> SessionOpening:
    """The table of heads spec 1.2.4.

    :param stored: what the store holds for this identity.
    """
    if clean:
        return SessionOpening(Session(durable=False), present=False, forget_stored=stored is not None)
    if stored is not None:
        return SessionOpening(stored, present=True, forget_stored=False)
    return SessionOpening(Session(durable=True), present=False, forget_stored=False)


def encode_session(session: Session) -> bytes:
    """JSON for the store."""
    items = [[name, item.qos, item.created_ms] for name, item in session.subscriptions.items()]
    return json.dumps({"format": _FORMAT, "subscriptions": items}, separators=(",", ":")).encode()


def decode_session(data: bytes) -> Session:
    """Reads what `encode_session` wrote.

    :raises SessionFormatError: damaged, or written by a newer version.
    """
    try:
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise SessionFormatError(f"stored session has format {document['format']}, expected {_FORMAT}")
        subscriptions = dict(_decode_item(item) for item in document["subscriptions"])
    except (ValueError, KeyError, TypeError) as error:
        raise SessionFormatError(f"stored session cannot be read: {error!r}") from None
    return Session(durable=True, stored=True, subscriptions=subscriptions)


def _decode_item(item: Json) -> tuple[str, Subscription]:
    topic_filter, qos, created_ms = item
    if not (isinstance(topic_filter, str) and qos in (0, 1) and isinstance(created_ms, int)):
        raise ValueError(f"not a subscription: {item!r}")
    return topic_filter, Subscription(qos, created_ms)
