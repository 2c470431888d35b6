"""A cloud-to-device message, what may be asked for it, and the limits (section 5.1)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iothub.errors import ErrorCode, HubError, argument_invalid

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class C2dLimits:
    """Named limits; what happens at each stands beside it.

    :ivar depth_max: messages of one device that are not settled; a further one is refused with 403004.
    :ivar message_bytes_max: body and properties; larger is refused with 413001.
    :ivar ttl_secs: life of a message that names none.
    :ivar ttl_max_secs: longest life that may be asked for; a longer one is refused with 403009.
    :ivar lock_secs: a delivered message that is not settled by then is delivered again.
    :ivar deliveries_max: abandoned this often, a message is given up.
    :ivar feedback_max: records of feedback that wait for a reader; the oldest give way.
    :ivar feedback_batch_max: records in one message of feedback; that many are handed out at once.
    :ivar feedback_wait_secs: fewer wait this long for company.
    :ivar feedback_ttl_secs: older records are dropped.
    """

    depth_max: int = 50
    message_bytes_max: int = 65_536
    ttl_secs: float = 3600.0
    ttl_max_secs: float = 2 * 24 * 3600.0
    lock_secs: float = 60.0
    deliveries_max: int = 10
    feedback_max: int = 10_000
    feedback_batch_max: int = 64
    feedback_wait_secs: float = 15.0
    feedback_ttl_secs: float = 3600.0


class Ack(enum.Enum):
    """What the sender wants to hear of: `iothub-ack` (section 5.3)."""

    NONE = "none"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    FULL = "full"

    def wants(self, status: Status) -> bool:
        """Whether this end is told."""
        if self is Ack.FULL:
            return True
        return self is (Ack.POSITIVE if status is Status.SUCCESS else Ack.NEGATIVE)


class Status(enum.Enum):
    """How a message ended: `statusCode` of its feedback."""

    SUCCESS = "Success"
    EXPIRED = "Expired"
    DELIVERY_COUNT_EXCEEDED = "DeliveryCountExceeded"
    REJECTED = "Rejected"
    PURGED = "Purged"


def parse_ack(text: str | None) -> Ack:
    """`iothub-ack`, in any case; nothing is `none`.

    :raises HubError: 400004.
    """
    try:
        return Ack((text or "none").lower())
    except ValueError:
        names = ", ".join(ack.value for ack in Ack)
        raise argument_invalid(f"iothub-ack must be one of {names}, not {text!r:.50}.") from None


@dataclass(frozen=True, slots=True)
class C2dMessage:
    """A message as the service sent it.

    :ivar expires_ms: Unix time the sender asked for, None for the default life.
    :ivar user_id: as text; AMQP carries bytes.
    :ivar properties: application properties; one may have a name only.
    """

    body: bytes = b""
    message_id: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    expires_ms: int | None = None
    ack: Ack = Ack.NONE
    properties: dict[str, str | None] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """Everything in it that is text."""
        texts = [self.message_id, self.correlation_id, self.user_id, self.content_type, self.content_encoding]
        texts += [text for pair in self.properties.items() for text in pair]
        return [text for text in texts if text]

    @property
    def size_bytes(self) -> int:
        """Body and properties, as the limit counts them."""
        return len(self.body) + sum(len(text.encode()) for text in self.texts)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was handed out and is locked until it is settled.

    :ivar sequence: rises from message to message.
    :ivar enqueued_ms: Unix time at which the hub took it.
    :ivar delivery_count: how often it was abandoned before.
    """

    device_id: str
    lock_token: UUID
    sequence: int
    enqueued_ms: int
    delivery_count: int
    message: C2dMessage


MS: Final = 1000
MESSAGE_ID_CHARS_MAX: Final = 128


def expiry_of(message: C2dMessage, now_ms: int, limits: C2dLimits) -> int:
    """Unix time in milliseconds at which a message ends that is taken now.

    :raises HubError: 403009.
    """
    if message.expires_ms is None:
        return now_ms + int(limits.ttl_secs * MS)
    latest = now_ms + int(limits.ttl_max_secs * MS)
    if not now_ms < message.expires_ms <= latest:
        text = f"The expiry must lie in the next {limits.ttl_max_secs / 3600:g} hours."
        raise HubError(ErrorCode.InvalidMessageExpiryTime, text)
    return message.expires_ms


def check_message(message: C2dMessage, limits: C2dLimits) -> None:
    """Refuses what is too large, and what a device or the database could not take.

    :raises HubError: 400004, 413001.
    """
    message_id = message.message_id or ""
    if len(message_id) > MESSAGE_ID_CHARS_MAX:
        raise argument_invalid(f"The message id has more than {MESSAGE_ID_CHARS_MAX} characters.")
    if "" in message.properties:
        raise argument_invalid("A property has no name.")
    if not all(text.isascii() for text in (message.content_type, message.content_encoding) if text):
        raise argument_invalid("Content type and encoding must be ASCII text.")
    if not all(map(_is_unicode, message.texts)):
        raise argument_invalid("A property is not UTF-8 text.")
    if message.size_bytes > limits.message_bytes_max:
        text = f"The message has {message.size_bytes} bytes; {limits.message_bytes_max} are allowed."
        raise HubError(ErrorCode.MessageTooLarge, text)


def _is_unicode(text: str) -> bool:
    """Headers are bytes: those that are not UTF-8 come in as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
