"""AMQP 1.0 messages as bytes: sections, their order, and the properties the hub reads (part 3, 3.2).

A message is `header, delivery-annotations, message-annotations, properties, application-properties, body,
footer`; all but the body are optional and the order is fixed. `validate_message` walks the structure without
building anything: that is what the hub does before it stores a message. `decode_message` builds the values
for those who read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from edgehub.protocol.amqp_types import (
    AmqpDecodeError,
    Described,
    Symbol,
    Timestamp,
    Uint,
    Ulong,
    Value,
    decode_value,
    encode_value,
    skip_value,
)

HEADER: Final = 0x70
DELIVERY_ANNOTATIONS: Final = 0x71
MESSAGE_ANNOTATIONS: Final = 0x72
PROPERTIES: Final = 0x73
APPLICATION_PROPERTIES: Final = 0x74
DATA: Final = 0x75
AMQP_SEQUENCE: Final = 0x76
AMQP_VALUE: Final = 0x77
FOOTER: Final = 0x78

_SECTION_NAMES: Final = {
    HEADER: "header",
    DELIVERY_ANNOTATIONS: "delivery-annotations",
    MESSAGE_ANNOTATIONS: "message-annotations",
    PROPERTIES: "properties",
    APPLICATION_PROPERTIES: "application-properties",
    DATA: "data",
    AMQP_SEQUENCE: "amqp-sequence",
    AMQP_VALUE: "amqp-value",
    FOOTER: "footer",
}
_SYMBOLIC: Final = {
    b"amqp:header:list": HEADER,
    b"amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    b"amqp:message-annotations:map": MESSAGE_ANNOTATIONS,
    b"amqp:properties:list": PROPERTIES,
    b"amqp:application-properties:map": APPLICATION_PROPERTIES,
    b"amqp:data:binary": DATA,
    b"amqp:amqp-sequence:list": AMQP_SEQUENCE,
    b"amqp:amqp-value:*": AMQP_VALUE,
    b"amqp:footer:map": FOOTER,
}

PROPERTY_NAMES: Final = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "group_id",
    "group_sequence",
    "reply_to_group_id",
)
"""Fields of the properties section, in wire order."""

BodyKind = Literal["none", "data", "value", "sequence"]


@dataclass(slots=True)
class AmqpMessage:
    """One decoded message.

    :ivar annotations: message annotations by symbol.
    :ivar properties: fields of the properties section that are set, by name of `PROPERTY_NAMES`.
    :ivar application_properties: as sent, values of any AMQP type.
    :ivar body: joined bytes of the data sections when `body_kind` is `data`, else the value.
    """

    annotations: dict[Any, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    application_properties: dict[Any, Any] = field(default_factory=dict)
    body: Any = b""
    body_kind: BodyKind = "none"

    @property
    def correlation_id(self) -> Value:
        """Correlation id with its AMQP type (`str`, `bytes`, `UUID` or `Ulong`), or None."""
        return self.properties.get("correlation_id")

    @property
    def message_id(self) -> Value:
        """Message id with its AMQP type, or None."""
        return self.properties.get("message_id")


def _section_at(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """Section code and position of its value. The compact form `00 53 7x` is checked first: all clients send
    it."""
    if end - pos < 3 or buf[pos] != 0x00:
        raise AmqpDecodeError("a message section must start with a descriptor", pos)
    code = 0
    after = pos + 3
    if buf[pos + 1] == 0x53:
        code = buf[pos + 2]
    else:
        descriptor, after = decode_value(buf, pos + 1, end)
        if isinstance(descriptor, Ulong):
            code = int(descriptor)
        elif isinstance(descriptor, Symbol):
            code = _SYMBOLIC.get(descriptor.encode(), 0)
    if code not in _SECTION_NAMES:
        raise AmqpDecodeError("unknown message section", pos)
    return code, after


def _may_follow(code: int, previous: int) -> bool:
    """The order of sections; data and sequence sections repeat, and a message has one kind of body."""
    if code == previous:
        return code in (DATA, AMQP_SEQUENCE)
    if DATA <= previous <= AMQP_VALUE:
        return code == FOOTER
    return code > previous


_FOLLOWERS: Final = {
    previous: frozenset(code for code in _SECTION_NAMES if _may_follow(code, previous))
    for previous in (0, *_SECTION_NAMES)
}
_MAP_CODES: Final = frozenset((0xC1, 0xD1))
_LIST_CODES: Final = frozenset((0x45, 0xC0, 0xD0))
_VALUE_CODES: Final = {
    HEADER: _LIST_CODES,
    DELIVERY_ANNOTATIONS: _MAP_CODES,
    MESSAGE_ANNOTATIONS: _MAP_CODES,
    PROPERTIES: _LIST_CODES,
    APPLICATION_PROPERTIES: _MAP_CODES,
    DATA: frozenset((0xA0, 0xB0)),
    AMQP_SEQUENCE: _LIST_CODES,
    AMQP_VALUE: frozenset(range(256)),
    FOOTER: _MAP_CODES,
}
"""Constructors that a section's value may have."""


def _check_section_type(buf: bytes, code: int, pos: int, end: int) -> None:
    if pos >= end:
        raise AmqpDecodeError(f"the {_SECTION_NAMES[code]} section has no value", pos)
    if buf[pos] not in _VALUE_CODES[code]:
        raise AmqpDecodeError(f"the {_SECTION_NAMES[code]} section has a value of the wrong type", pos)


def _check_order(code: int, previous: int, pos: int) -> None:
    if code not in _FOLLOWERS[previous]:
        name = _SECTION_NAMES[code]
        raise AmqpDecodeError(f"the {name} section may not follow here: order and one kind of body", pos)


def validate_message(buf: bytes, pos: int = 0, end: int | None = None) -> tuple[BodyKind, int]:
    """Checks that `buf[pos:end]` is one structurally complete message.

    Text is not checked for UTF-8 here, only sizes, types and nesting; a fraction of the cost of decoding. The
    loop is written out because it runs for every message that is stored.

    :returns: kind of the body, and the message's size: bytes of its body and its application properties.
    :raises AmqpDecodeError: what is wrong and where.
    """
    end = len(buf) if end is None else end
    if pos >= end:
        raise AmqpDecodeError("the message is empty", pos)
    followers = _FOLLOWERS[0]
    previous = 0
    kind: BodyKind = "none"
    size = 0
    while pos < end:
        if end - pos > 4 and buf[pos] == 0x00 and buf[pos + 1] == 0x53:
            code, value_pos = buf[pos + 2], pos + 3
        else:
            code, value_pos = _section_at(buf, pos, end)
        if code not in followers:
            _section_at(buf, pos, end)
            _check_order(code, previous, pos)
        if value_pos >= end or buf[value_pos] not in _VALUE_CODES[code]:
            _check_section_type(buf, code, value_pos, end)
        if code == DATA and buf[value_pos] == 0xA0 and value_pos + 1 < end:
            kind = "data"
            pos = value_pos + 2 + buf[value_pos + 1]
            size += buf[value_pos + 1]
            if pos > end:
                raise AmqpDecodeError("value runs past its container", value_pos)
        else:
            pos = skip_value(buf, value_pos, end)
            if code == DATA:
                kind = "data"
                size += pos - value_pos - (2 if buf[value_pos] == 0xA0 else 5)
            elif code == APPLICATION_PROPERTIES:
                size += pos - value_pos
            elif code in _BODY_KINDS:
                kind = _BODY_KINDS[code]
                size += pos - value_pos
        previous = code
        followers = _FOLLOWERS[code]
    return kind, size


_BODY_KINDS: Final[dict[int, BodyKind]] = {AMQP_SEQUENCE: "sequence", AMQP_VALUE: "value"}


def decode_message(buf: bytes, pos: int = 0, end: int | None = None) -> AmqpMessage:
    """Decodes one message.

    :raises AmqpDecodeError: what is wrong and where.
    """
    end = len(buf) if end is None else end
    message = AmqpMessage()
    if pos >= end:
        raise AmqpDecodeError("the message is empty", pos)
    previous = 0
    while pos < end:
        code, value_pos = _section_at(buf, pos, end)
        _check_order(code, previous, pos)
        _check_section_type(buf, code, value_pos, end)
        value, pos = decode_value(buf, value_pos, end)
        _store_section(message, code, value)
        previous = code
    return message


def _store_section(message: AmqpMessage, code: int, value: Value) -> None:
    if code == MESSAGE_ANNOTATIONS:
        message.annotations = value
    elif code == PROPERTIES:
        named = zip(PROPERTY_NAMES, value, strict=False)
        message.properties = {name: item for name, item in named if item is not None}
    elif code == APPLICATION_PROPERTIES:
        message.application_properties = value
    elif code == DATA:
        message.body = message.body + value if message.body_kind == "data" else value
        message.body_kind = "data"
    elif code == AMQP_SEQUENCE:
        message.body = [*message.body, *value] if message.body_kind == "sequence" else value
        message.body_kind = "sequence"
    elif code == AMQP_VALUE:
        message.body, message.body_kind = value, "value"


_PROPERTY_TYPES: Final[dict[str, Any]] = {
    "content_type": Symbol,
    "content_encoding": Symbol,
    "absolute_expiry_time": Timestamp,
    "creation_time": Timestamp,
    "group_sequence": Uint,
}


def encode_section(code: int, value: Value) -> bytes:
    """One section with its compact descriptor."""
    return bytes((0x00, 0x53, code)) + encode_value(value)


def _encode_properties(properties: dict[str, Any]) -> bytes:
    unknown = properties.keys() - set(PROPERTY_NAMES)
    if unknown:
        raise ValueError(f"unknown message properties: {', '.join(sorted(unknown))}")
    fields: list[Any] = []
    for name in PROPERTY_NAMES:
        value = properties.get(name)
        convert = _PROPERTY_TYPES.get(name)
        fields.append(convert(value) if convert and value is not None else value)
    while fields and fields[-1] is None:
        fields.pop()
    return encode_section(PROPERTIES, fields)


def encode_message(
    *,
    annotations: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    application_properties: dict[str, Any] | None = None,
    data: bytes | None = None,
    value: Value = None,
) -> bytes:
    """Encodes one message; the body is a data section when `data` is given, else an AMQP value.

    :param annotations: message annotations; keys become symbols.
    :param properties: by name of `PROPERTY_NAMES`; None is not sent.
    """
    parts = []
    if annotations:
        parts.append(encode_section(MESSAGE_ANNOTATIONS, {Symbol(k): v for k, v in annotations.items()}))
    if properties:
        parts.append(_encode_properties(properties))
    if application_properties:
        parts.append(encode_section(APPLICATION_PROPERTIES, application_properties))
    parts.append(encode_section(AMQP_VALUE, value) if data is None else encode_section(DATA, data))
    return b"".join(parts)


def describe_list(code: int, fields: list[Any]) -> bytes:
    """A described list such as a SASL frame body."""
    return encode_value(Described(Ulong(code), fields))
