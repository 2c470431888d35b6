"""Telemetry that came over HTTP, as the log keeps it (section 1.9, row 65). Pure.

A message is a body with headers `iothub-app-{name}` and some of the hub's own; a batch is a JSON array of
such, whose `properties` take the place of the headers.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edgehub.common.texts import is_utf8
from edgehub.protocol.amqp_batch import BATCH_MSGS_MAX, join_batch
from edgehub.protocol.amqp_message import encode_message
from iothub.errors import ErrorCode, HubError, argument_invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH_CONTENT_TYPE: Final = "application/vnd.microsoft.iothub.json"
APP_PREFIX: Final = "iothub-app-"
EXPIRY: Final = "iothub-expiry"
SYSTEM_NAMES: Final = {
    "iothub-messageid": "message_id",
    "iothub-correlationid": "correlation_id",
    "iothub-userid": "user_id",
    "iothub-contenttype": "content_type",
    "iothub-contentencoding": "content_encoding",
    "iothub-to": "to",
    EXPIRY: "absolute_expiry_time",
}
ASCII_FIELDS: Final = ("content_type", "content_encoding")


class _Item(msgspec.Struct, rename="camel"):
    body: str
    base64_encoded: bool = False
    properties: dict[str, str] = {}


def encode_single(body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    """One encoded message.

    :param headers: all of the request; those that are not the hub's are left out.
    :raises HubError: 400004.
    """
    named = [(name, value) for name, value in headers if _is_known(name)]
    return _encode(body, named, {})


def encode_batch(raw: bytes) -> bytes:
    """The messages of a JSON array as one transfer.

    :raises HubError: 400006 for what is no such array, 400004.
    """
    try:
        items = msgspec.json.decode(raw, type=list[_Item])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise HubError(ErrorCode.IotHubFormatError, f"The batch cannot be read: {error}") from None
    if not 0 < len(items) <= BATCH_MSGS_MAX:
        raise argument_invalid(f"A batch has 1 to {BATCH_MSGS_MAX} messages, not {len(items)}.")
    return join_batch(_encode_item(item) for item in items)


def _encode_item(item: _Item) -> bytes:
    body = item.body.encode()
    if item.base64_encoded:
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise argument_invalid("The body of a message is not base64, as base64Encoded says.") from None
    known = [(name, value) for name, value in item.properties.items() if _is_known(name)]
    own = {name: value for name, value in item.properties.items() if not _is_known(name)}
    return _encode(body, known, own)


def _is_known(name: str) -> bool:
    folded = name.lower()
    return folded in SYSTEM_NAMES or folded.startswith(APP_PREFIX)


def _encode(body: bytes, named: Iterable[tuple[str, str]], properties: dict[str, str]) -> bytes:
    system: dict[str, Any] = {}
    properties = dict(properties)
    for name, value in named:
        field = SYSTEM_NAMES.get(name.lower())
        if field is None:
            properties[_text(name[len(APP_PREFIX) :], "a property's name")] = _text(value, name)
        elif field == "absolute_expiry_time":
            system[field] = _unix_ms(value)
        elif field == "user_id":
            system[field] = _text(value, name).encode()
        elif field in ASCII_FIELDS and not value.isascii():
            raise argument_invalid(f"{name} must be ASCII text.")
        else:
            system[field] = _text(value, name)
    return encode_message(properties=system, application_properties=properties, data=body)


def _text(value: str, what: str) -> str:
    if not is_utf8(value):
        raise argument_invalid(f"{what} is not UTF-8 text.")
    return value


def _unix_ms(value: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        text = f"{EXPIRY} must be a time such as 2026-01-02T03:04:05Z, not {value[:40]!r}."
        raise argument_invalid(text) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
