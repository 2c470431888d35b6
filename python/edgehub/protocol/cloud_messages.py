"""Cloud-to-device messages of the parent hub: read from AMQP, and as a topic of MQTT (heads spec 1.6, 8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import UUID

from edgehub.protocol.amqp_message import decode_message
from edgehub.protocol.amqp_names import ACK, ENQUEUED_TIME, LOCK_TOKEN, SEQUENCE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgehub.protocol.amqp_types import Value

_SYSTEM: Final = {
    "message_id": "$.mid",
    "correlation_id": "$.cid",
    "user_id": "$.uid",
    "to": "$.to",
    "absolute_expiry_time": "$.exp",
    "content_type": "$.ct",
    "content_encoding": "$.ce",
}
"""Fields of the properties section and their keys in a bag, in the order they are written."""


class Settlement(Enum):
    """What becomes of a message at the parent hub."""

    COMPLETE = auto()
    REJECT = auto()
    NOTHING = auto()
    """It stays there, and comes again."""


@dataclass(frozen=True, slots=True)
class CloudMessage:
    """One message.

    :ivar lock_token: names this very delivery; None if the parent hub gave none.
    :ivar sequence: number of the message at the parent hub, the same in each delivery.
    :ivar enqueued_ms: Unix time at which the parent hub took it.
    :ivar properties: of the application, in their order; a value may be missing.
    :ivar system: keys of a bag and values.
    """

    payload: bytes
    lock_token: UUID | None = None
    sequence: int | None = None
    enqueued_ms: int | None = None
    properties: dict[str, str | None] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int, str] | None:
        """The same for all deliveries of one message; None where the parent hub tells too little."""
        if self.sequence is None or self.enqueued_ms is None:
            return None
        return self.sequence, self.enqueued_ms, self.system.get("$.mid", "")


def read_cloud_message(payload: bytes) -> CloudMessage:
    """Decodes a transfer of the parent hub.

    :raises AmqpDecodeError: what is wrong and where.
    """
    message = decode_message(payload)
    token = message.annotations.get(LOCK_TOKEN)
    system = {
        key: iso_time(value) if name == "absolute_expiry_time" else _text(value)
        for name, key in _SYSTEM.items()
        if (value := message.properties.get(name)) is not None
    }
    properties = {_text(name): _optional(value) for name, value in message.application_properties.items()}
    # As IoT Hub spells it over MQTT; no SDK knows another key.
    ack = properties.pop(ACK, None)
    if ack is not None:
        system[ACK] = ack
    return CloudMessage(
        payload=message.body if isinstance(message.body, bytes) else b"",
        lock_token=token if isinstance(token, UUID) else None,
        sequence=_number(message.annotations.get(SEQUENCE_NUMBER)),
        enqueued_ms=_number(message.annotations.get(ENQUEUED_TIME)),
        properties=properties,
        system=system,
    )


def cloud_topic(base: str, message: CloudMessage) -> str:
    """Topic of a message; application properties come first.

    :param base: `devices/{id}` in the spelling of the client.
    """
    bag = encode_bag([*message.properties.items(), *message.system.items()])
    return f"{base}/messages/devicebound/{bag}" if bag else f"{base}/messages/devicebound"


def encode_bag(pairs: Iterable[tuple[str, str | None]]) -> str:
    """A property bag; a missing value is a bare key (heads spec 1.6)."""
    return "&".join(
        quote(key, safe="") if value is None else f"{quote(key, safe='')}={quote(value, safe='')}"
        for key, value in pairs
    )


def iso_time(ms: int) -> str:
    """Unix time in milliseconds as ISO 8601 with seven decimals, as .NET writes it."""
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        # Beyond the calendar: a message that never ends.
        moment = datetime.max.replace(tzinfo=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z"


def _text(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _optional(value: Value) -> str | None:
    return None if value is None else _text(value)


def _number(value: Value) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
