"""Claims-based security: the `$cbs` node's requests and answers as bytes, both sides (hub section 1.4.2).

A request is `put-token` with the token as body; the answer repeats the request's message-id as correlation-id
with the same AMQP type. Whether a token is good is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgehub.errors import EdgehubError
from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_types import AmqpDecodeError, Int, Value

CBS_ADDRESS: Final = "$cbs"
REQUEST_BYTES_MAX: Final = 16384
PUT_TOKEN: Final = "put-token"
DELETE_TOKEN: Final = "delete-token"
SAS_TYPES: Final = frozenset(("azure-devices.net:sastoken", "servicebus.windows.net:sastoken"))
"""Token types, lower case; which one we send as a client is the first."""
CLIENT_SAS_TYPE: Final = "azure-devices.net:sastoken"


class CbsError(EdgehubError):
    """A request that cannot be served.

    :ivar status: status code for the answer, 400 or 500.
    :ivar message_id: id of the request for the answer's correlation-id, if it could be read.
    """

    def __init__(self, message: str, message_id: Value = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class CbsRequest:
    """A put-token or delete-token request.

    :ivar message_id: with its AMQP type.
    :ivar operation: `put-token` or `delete-token`.
    :ivar name: audience as the client names it.
    :ivar token: empty for delete-token.
    """

    message_id: Any
    operation: str
    name: str
    token: str


@dataclass(frozen=True, slots=True)
class CbsResponse:
    """An answer of the node."""

    correlation_id: Any
    status: int
    description: str


def parse_request(payload: bytes) -> CbsRequest:
    """Reads a message sent to `$cbs`.

    :raises CbsError: malformed, unknown operation or token type, missing name or token.
    """
    if len(payload) > REQUEST_BYTES_MAX:
        raise CbsError(f"a $cbs request may have {REQUEST_BYTES_MAX} bytes")
    try:
        message = decode_message(payload)
    except AmqpDecodeError as error:
        raise CbsError(f"malformed message: {error}") from None
    properties = message.application_properties
    message_id = message.message_id
    operation = _text(properties, "operation", message_id).lower()
    name = _text(properties, "name", message_id)
    if operation == DELETE_TOKEN:
        return CbsRequest(message_id, operation, name, "")
    if operation != PUT_TOKEN:
        raise CbsError(f"operation {operation!r} is not known; expected {PUT_TOKEN}", message_id)
    token_type = _text(properties, "type", message_id)
    if token_type.lower() not in SAS_TYPES:
        known = ", ".join(sorted(SAS_TYPES))
        raise CbsError(f"token type {token_type!r} is not known; expected one of {known}", message_id)
    return CbsRequest(message_id, operation, name, _token(message.body, message_id))


def _text(properties: dict[Any, Any], key: str, message_id: Value) -> str:
    value = properties.get(key)
    if not isinstance(value, str) or not value:
        raise CbsError(f"application property {key!r} must be a non-empty string", message_id)
    return value


def _token(body: Value, message_id: Value) -> str:
    if isinstance(body, bytes):  # some clients put the text into a data section
        try:
            body = body.decode()
        except UnicodeDecodeError:
            body = ""
    if not isinstance(body, str) or not body:
        raise CbsError("the body must be the token as an AMQP string", message_id)
    return body


def encode_response(correlation_id: Value, status: int, description: str) -> bytes:
    """An answer; `correlation_id` goes back with the type it came with."""
    return encode_message(
        properties={"correlation_id": correlation_id},
        application_properties={"status-code": Int(status), "status-description": description},
    )


def encode_put_token(message_id: str, audience: str, token: str, reply_to: str = "cbs") -> bytes:
    """A put-token request."""
    return encode_message(
        properties={"message_id": message_id, "to": CBS_ADDRESS, "reply_to": reply_to},
        application_properties={"operation": PUT_TOKEN, "type": CLIENT_SAS_TYPE, "name": audience},
        value=token,
    )


def parse_response(payload: bytes) -> CbsResponse:
    """Reads an answer of the node.

    :raises CbsError: malformed or without status code.
    """
    try:
        message = decode_message(payload)
    except AmqpDecodeError as error:
        raise CbsError(f"malformed answer from $cbs: {error}") from None
    status = message.application_properties.get("status-code")
    if not isinstance(status, int):
        raise CbsError("the answer from $cbs has no status-code", message.correlation_id)
    description = message.application_properties.get("status-description")
    return CbsResponse(
        message.correlation_id, int(status), description if isinstance(description, str) else ""
    )
