"""Cloud-to-device messages and feedback as AMQP messages (sections 1.4.5, 2.5, 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from edgehub.protocol.addresses import AddressError, Node, node_address, parse_address
from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_names import ACK, DELIVERY_COUNT, ENQUEUED_TIME, LOCK_TOKEN, SEQUENCE_NUMBER
from edgehub.protocol.amqp_types import AmqpDecodeError, Timestamp, Ubyte, Ulong
from iothub.c2d.feedback_store import CONTENT_TYPE
from iothub.c2d.model import Ack, C2dMessage, parse_ack
from iothub.errors import ErrorCode, HubError, argument_invalid

if TYPE_CHECKING:
    from edgehub.protocol.amqp_message import AmqpMessage
    from edgehub.protocol.amqp_types import Value
    from iothub.c2d.feedback_store import FeedbackBatch
    from iothub.c2d.model import Delivery

_UBYTE_MAX = 255


def read_service_message(payload: bytes) -> tuple[str, C2dMessage]:
    """A message to a node of the service: device id and message.

    :raises HubError: 400006 what cannot be read, 400004 what it asks for.
    """
    try:
        message = decode_message(payload)
    except AmqpDecodeError as error:
        raise HubError(ErrorCode.IotHubFormatError, f"The message cannot be read: {error}.") from None
    if message.body_kind not in ("data", "none"):
        raise argument_invalid("The body must be of data sections.")
    properties = {
        _text(key): None if value is None else _text(value)
        for key, value in message.application_properties.items()
    }
    ack = parse_ack(properties.pop(ACK, None))
    return _device_of(message), C2dMessage(
        body=message.body,
        message_id=_property(message, "message_id"),
        correlation_id=_property(message, "correlation_id"),
        user_id=_property(message, "user_id"),
        content_type=_property(message, "content_type"),
        content_encoding=_property(message, "content_encoding"),
        expires_ms=_expiry(message.properties.get("absolute_expiry_time")),
        ack=ack,
        properties=properties,
    )


def _device_of(message: AmqpMessage) -> str:
    to = message.properties.get("to")
    try:
        address = parse_address(to if isinstance(to, str) else None)
    except AddressError:
        address = None
    if address is None or address.node is not Node.DEVICE_BOUND:
        raise argument_invalid(f"to must be /devices/<device>/messages/devicebound, not {to!r:.200}.")
    if address.module_id is not None:
        raise argument_invalid("Cloud-to-device messages go to devices, not to modules.")
    return address.device_id


def _expiry(value: Value) -> int | None:
    if value is None:
        return None
    if not isinstance(value, Timestamp):
        raise argument_invalid("absolute-expiry-time must be a timestamp.")
    return int(value)


def _property(message: AmqpMessage, name: str) -> str | None:
    value = message.properties.get(name)
    return None if value is None else _text(value)


def _text(value: Value) -> str:
    """Ids and properties as text: what arrives over MQTT is text, too.

    :raises HubError: 400004 of a type that has no text.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, UUID)):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise argument_invalid(f"A property of type {type(value).__name__} cannot be sent to a device.")


def encode_delivery(delivery: Delivery) -> bytes:
    """A message as the device gets it."""
    message = delivery.message
    properties: dict[str, Any] = {
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "user_id": None if message.user_id is None else message.user_id.encode(),
        "to": device_bound_address(delivery.device_id),
        "absolute_expiry_time": message.expires_ms,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
    }
    ack = {} if message.ack is Ack.NONE else {ACK: message.ack.value}
    return encode_message(
        annotations={
            LOCK_TOKEN: delivery.lock_token,
            SEQUENCE_NUMBER: Ulong(delivery.sequence),
            ENQUEUED_TIME: Timestamp(delivery.enqueued_ms),
            DELIVERY_COUNT: Ubyte(min(delivery.delivery_count, _UBYTE_MAX)),
        },
        properties=properties,
        application_properties={**message.properties, **ack},
        data=message.body,
    )


def device_bound_address(device_id: str) -> str:
    """`to` of a message to a device."""
    return node_address(Node.DEVICE_BOUND, device_id).replace("deviceBound", "devicebound")


def encode_feedback(batch: FeedbackBatch, hub_name: str) -> bytes:
    """A batch of feedback as the service gets it."""
    return encode_message(
        annotations={
            LOCK_TOKEN: batch.lock_token,
            ENQUEUED_TIME: Timestamp(batch.enqueued_ms),
            DELIVERY_COUNT: Ubyte(min(batch.delivery_count, _UBYTE_MAX)),
        },
        properties={"user_id": hub_name.encode(), "content_type": CONTENT_TYPE},
        data=batch.body,
    )
