"""The JSON of method calls over HTTP (heads spec 3.1). Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from edgehub.common.texts import is_utf8
from edgehub.errors import EdgehubError

NAME_CHARS_MAX: Final = 100
PAYLOAD_BYTES_MAX: Final = 131_072
RESPONSE_TIMEOUT_S: Final = (5, 300)
CONNECT_TIMEOUT_S: Final = (0, 300)
_NULL: Final = b"null"
RESPONSE_TIMEOUT_DEFAULT_S: Final = 30
CONNECT_TIMEOUT_DEFAULT_S: Final = 0


class MethodRequestError(EdgehubError):
    """A request that cannot be made a call of. The text says what is wrong and what would be right."""


class MethodRequest(msgspec.Struct, frozen=True):
    """What is to be called.

    :ivar payload: JSON as it was sent; `null` if it is missing (DEV-13).
    """

    methodName: str
    payload: msgspec.Raw = msgspec.Raw(_NULL)
    responseTimeoutInSeconds: int = RESPONSE_TIMEOUT_DEFAULT_S
    connectTimeoutInSeconds: int = CONNECT_TIMEOUT_DEFAULT_S


class _Body(msgspec.Struct, frozen=True):
    """As clients write it: some say null for what they leave out. Other members are ignored."""

    methodName: str
    payload: msgspec.Raw = msgspec.Raw(_NULL)
    responseTimeoutInSeconds: int | None = None
    connectTimeoutInSeconds: int | None = None


def parse_method_request(body: bytes, name_chars_max: int = NAME_CHARS_MAX) -> MethodRequest:
    """Reads and checks the body of a call (DEV-12, H-007 to H-009).

    :raises MethodRequestError: not a call, or outside of the limits.
    """
    try:
        request = _with_defaults(msgspec.json.decode(body, type=_Body))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MethodRequestError(f"The request is not a method call: {error}") from None
    if not request.methodName.strip() or len(request.methodName) > name_chars_max:
        raise MethodRequestError(f"methodName must have 1 to {name_chars_max} characters")
    if len(request.payload) > PAYLOAD_BYTES_MAX:
        raise MethodRequestError(f"payload has {len(request.payload)} bytes; {PAYLOAD_BYTES_MAX} are allowed")
    _check_range("responseTimeoutInSeconds", request.responseTimeoutInSeconds, RESPONSE_TIMEOUT_S)
    _check_range("connectTimeoutInSeconds", request.connectTimeoutInSeconds, CONNECT_TIMEOUT_S)
    return request


def _with_defaults(body: _Body) -> MethodRequest:
    response, connect = body.responseTimeoutInSeconds, body.connectTimeoutInSeconds
    return MethodRequest(
        body.methodName,
        body.payload,
        RESPONSE_TIMEOUT_DEFAULT_S if response is None else response,
        CONNECT_TIMEOUT_DEFAULT_S if connect is None else connect,
    )


def _check_range(name: str, value: int, limits: tuple[int, int]) -> None:
    low, high = limits
    if not low <= value <= high:
        raise MethodRequestError(f"{name} is {value}; it must be from {low} to {high}")


def encode_method_result(status: int, payload: bytes) -> bytes:
    """The body of an answer: the payload as the target sent it, as a string if it is not JSON (DEV-25)."""
    return b'{"status":%d,"payload":%b}' % (status, _json_of(payload))


def _json_of(payload: bytes) -> bytes:
    if not payload.strip():
        return _NULL
    try:
        msgspec.json.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return msgspec.json.encode(payload.decode("utf-8", "replace"))
    return payload


def encode_message(text: str) -> bytes:
    """The body of an error."""
    return msgspec.json.encode({"message": text})


def caller_of(header: str | None) -> tuple[str, str] | None:
    """Device and module of `x-ms-edge-moduleId`; None if it has another form (H-002). Headers are bytes: one
    that is not UTF-8 comes with halves of characters, and names nobody."""
    if header is None or not is_utf8(header):
        return None
    parts = header.split("/")
    if len(parts) != 2 or not all(part.strip() for part in parts):
        return None
    return parts[0], parts[1]
