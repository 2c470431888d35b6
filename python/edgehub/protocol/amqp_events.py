"""What an `AmqpEngine` reports, in the order it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from edgehub.protocol.amqp_errors import AmqpFault
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink, AmqpSession

OutcomeKind = Literal["accepted", "rejected", "released", "modified", "settled"]


class Outcome(NamedTuple):
    """Final state of a delivery as the receiver decided it.

    :ivar kind: `settled` when the receiver settled without a state.
    :ivar fault: the error of a rejection, if it gave one.
    """

    kind: OutcomeKind
    fault: AmqpFault | None = None


class ConnectionOpened(NamedTuple):
    """The peer's open frame came."""

    container_id: str
    hostname: str | None


class ConnectionClosed(NamedTuple):
    """The peer's close frame came."""

    fault: AmqpFault | None


class SessionOpened(NamedTuple):
    """The peer began a session; answer with `session.open()`."""

    session: AmqpSession


class SessionClosed(NamedTuple):
    """The peer ended a session; its links were reported closed before. Not reported when its owner ended
    it."""

    session: AmqpSession
    fault: AmqpFault | None


class LinkAttached(NamedTuple):
    """The peer attached a link (`link.locally_new`: answer with `open` or `refuse`) or answered our
    attach."""

    link: AmqpLink


class LinkClosed(NamedTuple):
    """A link is gone: detached by the peer, its session ended, or the peer broke a limit. Last event of a
    link.

    Not reported for a link that its owner closed. When the session ended, its `SessionClosed` has the fault.
    """

    link: AmqpLink
    fault: AmqpFault | None


class LinkCredit(NamedTuple):
    """The peer changed the credit of a link we send on."""

    link: AmqpLink


class Received(NamedTuple):
    """One complete incoming message.

    :ivar message_format: 0, or as in the transfer (`amqp_batch.BATCH_FORMAT`).
    :ivar settled: the sender does not wait for a disposition; `delivery` must still be settled.
    """

    link: AmqpLink
    delivery: AmqpDelivery
    payload: bytes
    message_format: int
    settled: bool


class Disposed(NamedTuple):
    """The receiver decided about a message we sent; the delivery is settled, unless its link says
    `owner_settles`."""

    delivery: AmqpDelivery
    outcome: Outcome


class SaslPlain(NamedTuple):
    """A client wants to authenticate; answer with `engine.sasl_decide`."""

    user: str
    password: str


class TransportFailed(NamedTuple):
    """The connection broke (bad bytes, silence, failed SASL). Last event of a connection."""

    fault: AmqpFault


AmqpEvent = (
    ConnectionOpened
    | ConnectionClosed
    | SessionOpened
    | SessionClosed
    | LinkAttached
    | LinkClosed
    | LinkCredit
    | Received
    | Disposed
    | SaslPlain
    | TransportFailed
)
