"""JSON of requests: bounded in depth, without NaN, always an object or an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from edgehub.common.json_types import Json


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object.

    :param what: name for the error text.
    :raises HubError: 400006, with the position of the mistake.
    """
    value = _decode(raw, what)
    if not isinstance(value, dict):
        raise HubError(ErrorCode.IotHubFormatError, f"{what} must be a JSON object.")
    return value


def parse_array(raw: bytes, what: str) -> list[Any]:
    """A JSON array.

    :param what: name for the error text.
    :raises HubError: 400006, with the position of the mistake.
    """
    value = _decode(raw, what)
    if not isinstance(value, list):
        raise HubError(ErrorCode.IotHubFormatError, f"{what} must be a JSON array.")
    return value


def _decode(raw: bytes, what: str) -> Json:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise HubError(ErrorCode.IotHubFormatError, f"{what} is not valid JSON: {error}") from None


def encode(value: Json) -> bytes:
    """Compact JSON. Texts of AMQP types, such as symbols, become plain ones."""
    return msgspec.json.encode(value, enc_hook=_plain_text)


def _plain_text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
