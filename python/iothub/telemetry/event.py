"""What the log keeps and what a reader sees.

The log keeps each transfer as it came (`Chunk`): one encoded message, or a batch. It was checked for
structure at the door, and is taken apart by those who read: ingestion then costs a walk over the bytes
instead of building values.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from edgehub.protocol.amqp_batch import BATCH_FORMAT, split_batch
from edgehub.protocol.amqp_message import AmqpMessage, decode_message, validate_message
from edgehub.protocol.amqp_types import AmqpDecodeError, Opaque, Timestamp
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.common.json_types import Json

_SYSTEM_NAMES: Final = {
    "message_id": "message-id",
    "correlation_id": "correlation-id",
    "user_id": "user-id",
    "to": "to",
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "absolute_expiry_time": "absolute-expiry-time",
    "creation_time": "creation-time",
}
_SYSTEM_ANNOTATIONS: Final = ("iothub-interface-id", "dt-subject", "dt-dataschema", "iothub-content-type")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a chunk: stamped by the hub from the link's identity, never from the message.

    :ivar module_id: None for a device.
    """

    device_id: str
    module_id: str | None
    generation_id: str
    auth_type: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored transfer.

    :ivar first_sequence: sequence number of its first event.
    :ivar count: events in it.
    :ivar enqueued_ms: Unix time in milliseconds at which the hub took it.
    :ivar message_format: 0 or `BATCH_FORMAT`.
    """

    first_sequence: int
    count: int
    enqueued_ms: int
    origin: Origin
    message_format: int
    payload: bytes

    @property
    def next_sequence(self) -> int:
        """Sequence number after its last event."""
        return self.first_sequence + self.count


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log.

    :ivar system: system properties by their outward names.
    :ivar properties: application properties that are text, or null: an MQTT client may send a name alone.
    :ivar error: set when the text of the message cannot be read; `body` then has the whole encoded message.
    """

    sequence: int
    enqueued_ms: int
    origin: Origin
    system: dict[str, Any]
    properties: dict[str, str | None]
    body: bytes
    error: str | None = None


def count_messages(payload: bytes, message_format: int, bytes_max: int) -> int:
    """Checks a transfer before it is stored; gives the number of messages in it.

    :param bytes_max: limit for one message's body and application properties.
    :raises HubError: 400006 for malformed bytes or a body that is not data, 413001.
    """
    try:
        if message_format == BATCH_FORMAT:
            extents = split_batch(payload)
        elif message_format == 0:
            extents = [(0, len(payload))]
        else:
            raise HubError(ErrorCode.IotHubFormatError, f"message format 0x{message_format:x} is not known.")
        for start, end in extents:
            kind, size = validate_message(payload, start, end)
            if kind in ("value", "sequence"):
                raise HubError(ErrorCode.IotHubFormatError, "the body of a message must be data sections.")
            if size > bytes_max:
                raise HubError(
                    ErrorCode.MessageTooLarge, f"a message has {size} bytes; {bytes_max} are allowed."
                )
    except AmqpDecodeError as error:
        raise HubError(ErrorCode.IotHubFormatError, f"malformed message: {error}.") from None
    return len(extents)


def events_of(chunk: Chunk) -> Iterator[Event]:
    """The events of a chunk, in order."""
    extents = [(0, len(chunk.payload))]
    if chunk.message_format == BATCH_FORMAT:
        extents = split_batch(chunk.payload)
    for index, (start, end) in enumerate(extents):
        yield _event(chunk, index, chunk.payload[start:end])


def _event(chunk: Chunk, index: int, encoded: bytes) -> Event:
    sequence = chunk.first_sequence + index
    try:
        message = decode_message(encoded)
    except AmqpDecodeError as error:
        return Event(sequence, chunk.enqueued_ms, chunk.origin, {}, {}, encoded, str(error))
    texts = {
        str(key): None if value is None else str(value)
        for key, value in message.application_properties.items()
        if isinstance(key, str) and (value is None or isinstance(value, str))
    }
    body = message.body if message.body_kind == "data" else b""
    return Event(sequence, chunk.enqueued_ms, chunk.origin, _system(message), texts, body)


def _system(message: AmqpMessage) -> dict[str, Any]:
    found = {
        outward: _plain(message.properties[name])
        for name, outward in _SYSTEM_NAMES.items()
        if name in message.properties
    }
    for name in _SYSTEM_ANNOTATIONS:
        if name in message.annotations:
            found[name] = _plain(message.annotations[name])
    return found


def _plain(value: Json) -> Json:
    """A property as JSON can show it."""
    if isinstance(value, Timestamp):
        return iso_ms(int(value))
    if isinstance(value, bytes | Opaque):
        raw = value.data if isinstance(value, Opaque) else value
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return base64.b64encode(raw).decode()
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def iso_ms(unix_ms: int) -> str:
    """UTC with milliseconds; times outside the calendar are shown as the number."""
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_view(event: Event) -> dict[str, Any]:
    """An event as one JSON object. The body is JSON when it is JSON by its content type, else text, else
    base64."""
    origin = event.origin
    view: dict[str, Any] = {
        "sequenceNumber": event.sequence,
        "enqueuedTime": iso_ms(event.enqueued_ms),
        "deviceId": origin.device_id,
    }
    if origin.module_id is not None:
        view["moduleId"] = origin.module_id
    view["systemProperties"] = {
        **event.system,
        "iothub-connection-auth-generation-id": origin.generation_id,
        "iothub-connection-auth-type": origin.auth_type,
    }
    view["properties"] = event.properties
    view |= _body_view(event)
    if event.error is not None:
        view["error"] = event.error
    return view


def _body_view(event: Event) -> dict[str, Any]:
    try:
        text = event.body.decode()
    except UnicodeDecodeError:
        return {"body": base64.b64encode(event.body).decode(), "bodyEncoding": "base64"}
    content_type = str(event.system.get("content-type", "")).partition(";")[0].strip().lower()
    if content_type == "application/json":
        try:
            return {"body": json.loads(text, parse_constant=_no_constant)}
        except (ValueError, RecursionError):
            pass
    return {"body": text}


def _no_constant(name: str) -> Json:
    raise ValueError(name)
