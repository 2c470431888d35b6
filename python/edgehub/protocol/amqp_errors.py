"""AMQP error conditions and the one type that carries them (part 2, 2.8.14-18, and the IoT Hub
extensions)."""

from __future__ import annotations

from typing import Final, NamedTuple

INTERNAL_ERROR: Final = "amqp:internal-error"
NOT_FOUND: Final = "amqp:not-found"
UNAUTHORIZED: Final = "amqp:unauthorized-access"
DECODE_ERROR: Final = "amqp:decode-error"
RESOURCE_LIMIT: Final = "amqp:resource-limit-exceeded"
NOT_ALLOWED: Final = "amqp:not-allowed"
INVALID_FIELD: Final = "amqp:invalid-field"
NOT_IMPLEMENTED: Final = "amqp:not-implemented"
PRECONDITION_FAILED: Final = "amqp:precondition-failed"
RESOURCE_LOCKED: Final = "amqp:resource-locked"
CONNECTION_FORCED: Final = "amqp:connection:forced"
FRAMING_ERROR: Final = "amqp:connection:framing-error"
DETACH_FORCED: Final = "amqp:link:detach-forced"
LINK_STOLEN: Final = "amqp:link:stolen"
TRANSFER_LIMIT: Final = "amqp:link:transfer-limit-exceeded"
MESSAGE_SIZE: Final = "amqp:link:message-size-exceeded"
TIMEOUT: Final = "com.microsoft:timeout"
THROTTLED: Final = "com.microsoft:device-container-throttled"
HUB_NOT_FOUND: Final = "com.microsoft:iot-hub-not-found-error"
HUB_SUSPENDED: Final = "com.microsoft:iot-hub-suspended"
QUOTA_EXCEEDED: Final = "com.microsoft:quota-exceeded"
ARGUMENT_ERROR: Final = "com.microsoft:argument-error"
ARGUMENT_RANGE: Final = "com.microsoft:argument-out-of-range"
LOCK_LOST: Final = "com.microsoft:message-lock-lost"
MS_PRECONDITION_FAILED: Final = "com.microsoft:precondition-failed"

FATAL_FOR_MESSAGE: Final = frozenset(
    (
        MESSAGE_SIZE,
        NOT_ALLOWED,
        INVALID_FIELD,
        NOT_IMPLEMENTED,
        DECODE_ERROR,
        PRECONDITION_FAILED,
        MS_PRECONDITION_FAILED,
        ARGUMENT_ERROR,
        ARGUMENT_RANGE,
    )
)
"""Conditions of a rejected message that another try cannot cure."""


class AmqpFault(NamedTuple):
    """An error condition as it goes over the wire.

    :ivar condition: symbol such as `amqp:not-found`.
    :ivar description: text for people, possibly a JSON object of the hub.
    """

    condition: str
    description: str = ""

    def __str__(self) -> str:
        return f"{self.condition}: {self.description}" if self.description else self.condition
