"""AMQP 1.0 values: a small, bounded decoder and encoder (OASIS AMQP 1.0 part 1, types).

Why not proton's `Data`: it costs tens of microseconds per message through its Python binding, and the hub
only needs to walk maps and lists. Decoding is strict (a value must lie inside its container) and bounded
(`DEPTH_MAX` levels, counts limited by the bytes that are there), so hostile input costs at most its own
length.

Python types: `None bool int float str bytes UUID list dict`, and the marker types below where AMQP tells
apart what Python does not. A plain `int` is encoded as AMQP long, a `str` as string, `bytes` as binary.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from edgehub.errors import EdgehubError

Value: TypeAlias = Any
"""Any decoded AMQP value; narrowed by the code that reads it."""

DEPTH_MAX: Final = 16
"""Nesting levels of lists, maps, arrays and described values that are followed."""

UINT_MAX: Final = 0xFFFF_FFFF


class AmqpDecodeError(EdgehubError):
    """Bytes that are not a valid AMQP 1.0 value, section or frame.

    :ivar offset: byte offset in the buffer at which decoding stopped.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class Symbol(str):
    """AMQP symbol: ASCII text used as a name."""

    __slots__ = ()


class Ubyte(int):
    """AMQP ubyte."""

    __slots__ = ()


class Ushort(int):
    """AMQP ushort."""

    __slots__ = ()


class Uint(int):
    """AMQP uint."""

    __slots__ = ()


class Ulong(int):
    """AMQP ulong."""

    __slots__ = ()


class Byte(int):
    """AMQP byte."""

    __slots__ = ()


class Short(int):
    """AMQP short."""

    __slots__ = ()


class Int(int):
    """AMQP int (32 bits); a plain Python `int` is a long."""

    __slots__ = ()


class Timestamp(int):
    """AMQP timestamp: milliseconds since the Unix epoch."""

    __slots__ = ()


class Char(str):
    """AMQP char."""

    __slots__ = ()


class SymbolArray(tuple[str, ...]):
    """Array of symbols, as fields of type "symbol, multiple" are sent; decoded as a list of `Symbol`."""

    __slots__ = ()


class Described(NamedTuple):
    """A described value; `descriptor` is a `Ulong` or a `Symbol`."""

    descriptor: Any
    value: Any


class Opaque(NamedTuple):
    """A value kept as its encoded bytes (decimals, which Python code here never computes with)."""

    code: int
    data: bytes


# Width of the data after the constructor, by its upper four bits (part 1, 1.2); variable kinds are handled
# apart.
_FIXED_WIDTH: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_VARIABLE_SIZE_BYTES: Final = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}

_unpack_u16 = struct.Struct(">H").unpack_from
_unpack_u32 = struct.Struct(">I").unpack_from

_SCALARS: Final[dict[int, tuple[struct.Struct, type[Any]]]] = {
    0x50: (struct.Struct(">B"), Ubyte),
    0x51: (struct.Struct(">b"), Byte),
    0x52: (struct.Struct(">B"), Uint),
    0x53: (struct.Struct(">B"), Ulong),
    0x54: (struct.Struct(">b"), Int),
    0x55: (struct.Struct(">b"), int),
    0x60: (struct.Struct(">H"), Ushort),
    0x61: (struct.Struct(">h"), Short),
    0x70: (struct.Struct(">I"), Uint),
    0x71: (struct.Struct(">i"), Int),
    0x72: (struct.Struct(">f"), float),
    0x80: (struct.Struct(">Q"), Ulong),
    0x81: (struct.Struct(">q"), int),
    0x82: (struct.Struct(">d"), float),
    0x83: (struct.Struct(">q"), Timestamp),
}
_CONSTANTS: Final[dict[int, Any]] = {0x40: None, 0x41: True, 0x42: False, 0x43: Uint(0), 0x44: Ulong(0)}


def skip_value(buf: bytes, pos: int, end: int, depth: int = DEPTH_MAX) -> int:
    """Checks that one well-formed value starts at `pos` and lies before `end`; gives the position after it.

    :raises AmqpDecodeError: unknown constructor, value beyond `end`, or nesting deeper than `depth`.
    """
    if pos >= end:
        raise AmqpDecodeError("value is missing", pos)
    code = buf[pos]
    if code in (0xC0, 0xC1) and pos + 3 <= end:
        # The lists and maps of most messages: small, with small elements.
        after = pos + 2 + buf[pos + 1]
        if pos + 3 <= after <= end and depth > 1:
            _check_elements(buf, code == 0xC1, buf[pos + 2], pos + 3, after, depth - 1)
            return after
    total = _FIXED_TOTAL[code]
    if total:
        if pos + total > end:
            raise AmqpDecodeError("value runs past its container", pos)
        return pos + total
    if code == 0x00:
        return _skip_described(buf, pos, end, depth)
    start, after = _variable_extent(buf, pos, end)
    if code >= 0xC0:
        _check_compound(buf, code, start, after, depth - 1)
    return after


def decode_value(buf: bytes, pos: int, end: int, depth: int = DEPTH_MAX) -> tuple[Any, int]:
    """Decodes the value at `pos`; gives it and the position after it.

    :raises AmqpDecodeError: as `skip_value`, and for text that is not UTF-8.
    """
    if pos >= end:
        raise AmqpDecodeError("value is missing", pos)
    code = buf[pos]
    scalar = _SCALARS.get(code)
    if scalar is not None:
        layout, make = scalar
        after = pos + 1 + layout.size
        if after > end:
            raise AmqpDecodeError("value runs past its container", pos)
        raw = layout.unpack_from(buf, pos + 1)[0]
        return (raw if make is int or make is float else make(raw)), after
    if code in _CONSTANTS:
        return _CONSTANTS[code], pos + 1
    if code == 0x00:
        return _decode_described(buf, pos, end, depth)
    if code >> 4 in _VARIABLE_SIZE_BYTES:
        return _decode_variable(buf, code, pos, end, depth)
    return _decode_rare(buf, code, pos, end)


def _variable_extent(buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """Start and end of the data of a variable-width, compound or array value."""
    code = buf[pos]
    size_bytes = _VARIABLE_SIZE_BYTES.get(code >> 4)
    if size_bytes is None or code not in _KNOWN_CODES:
        raise AmqpDecodeError(f"unknown type constructor 0x{code:02x}", pos)
    start = pos + 1 + size_bytes
    if start > end:
        raise AmqpDecodeError("size runs past its container", pos)
    size: int = buf[pos + 1] if size_bytes == 1 else _unpack_u32(buf, pos + 1)[0]
    if start + size > end:
        raise AmqpDecodeError("value runs past its container", pos)
    return start, start + size


def _compound_count(buf: bytes, code: int, start: int, end: int) -> tuple[int, int]:
    """Element count of a list, map or array and the position of the first element or constructor."""
    if code in (0xC0, 0xC1, 0xE0):
        if start + 1 > end:
            raise AmqpDecodeError("count is missing", start)
        return buf[start], start + 1
    if start + 4 > end:
        raise AmqpDecodeError("count is missing", start)
    count: int = _unpack_u32(buf, start)[0]
    return count, start + 4


def _check_compound(buf: bytes, code: int, start: int, end: int, depth: int) -> None:
    if depth <= 0:
        raise AmqpDecodeError(f"values are nested deeper than {DEPTH_MAX} levels", start)
    if code >= 0xE0:
        _decode_array(buf, code, start, end, depth)
        return
    count, pos = _compound_count(buf, code, start, end)
    _check_elements(buf, code in (0xC1, 0xD1), count, pos, end, depth)


def _check_elements(buf: bytes, is_map: bool, count: int, pos: int, end: int, depth: int) -> None:
    """Steps over the elements of a list or map; the common ones here, as a call for each would double it."""
    if is_map and count % 2:
        raise AmqpDecodeError("map has a key without value", pos)
    widths = _FIXED_TOTAL
    for _ in range(count):
        if pos >= end:
            raise AmqpDecodeError("a list or map has fewer elements than its count", pos)
        element = buf[pos]
        if element in (0xA1, 0xA3):
            pos += 2 + (buf[pos + 1] if pos + 1 < end else 0)
        elif widths[element]:
            pos += widths[element]
        else:
            pos = skip_value(buf, pos, end, depth)
    if pos != end:
        raise AmqpDecodeError("a list or map does not end with its last element", pos)


def _skip_described(buf: bytes, pos: int, end: int, depth: int) -> int:
    if depth <= 1:
        raise AmqpDecodeError(f"values are nested deeper than {DEPTH_MAX} levels", pos)
    return skip_value(buf, skip_value(buf, pos + 1, end, depth - 1), end, depth - 1)


def _decode_described(buf: bytes, pos: int, end: int, depth: int) -> tuple[Described, int]:
    if depth <= 1:
        raise AmqpDecodeError(f"values are nested deeper than {DEPTH_MAX} levels", pos)
    descriptor, pos = decode_value(buf, pos + 1, end, depth - 1)
    value, pos = decode_value(buf, pos, end, depth - 1)
    return Described(descriptor, value), pos


def _decode_text(raw: bytes, encoding: str, pos: int) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise AmqpDecodeError(f"text is not valid {encoding}", pos) from None


def _decode_variable(buf: bytes, code: int, pos: int, end: int, depth: int) -> tuple[Any, int]:
    start, after = _variable_extent(buf, pos, end)
    if code in (0xA1, 0xB1):
        return _decode_text(bytes(buf[start:after]), "utf-8", pos), after
    if code in (0xA0, 0xB0):
        return bytes(buf[start:after]), after
    if code in (0xA3, 0xB3):
        return Symbol(_decode_text(bytes(buf[start:after]), "ascii", pos)), after
    if depth <= 1:
        raise AmqpDecodeError(f"values are nested deeper than {DEPTH_MAX} levels", pos)
    if code in (0xC1, 0xD1):
        return _decode_map(buf, code, start, after, depth - 1), after
    if code in (0xC0, 0xD0):
        return _decode_list(buf, code, start, after, depth - 1), after
    return _decode_array(buf, code, start, after, depth - 1), after


def _decode_list(buf: bytes, code: int, pos: int, end: int, depth: int) -> list[Any]:
    count, pos = _compound_count(buf, code, pos, end)
    items = []
    for _ in range(count):
        item, pos = decode_value(buf, pos, end, depth)
        items.append(item)
    if pos != end:
        raise AmqpDecodeError("bytes are left over in a list", pos)
    return items


def _hashable(key: Value, pos: int) -> Value:
    if isinstance(key, list | dict | Described):
        raise AmqpDecodeError("a map key is a list, map or described value", pos)
    return key


def _decode_map(buf: bytes, code: int, pos: int, end: int, depth: int) -> dict[Any, Any]:
    count, pos = _compound_count(buf, code, pos, end)
    if count % 2:
        raise AmqpDecodeError("map has a key without value", pos)
    entries: dict[Any, Any] = {}
    for _ in range(count // 2):
        key, pos = decode_value(buf, pos, end, depth)
        value, pos = decode_value(buf, pos, end, depth)
        entries[_hashable(key, pos)] = value
    if pos != end:
        raise AmqpDecodeError("bytes are left over in a map", pos)
    return entries


def _decode_array(buf: bytes, code: int, pos: int, end: int, depth: int) -> list[Any]:
    """An array holds one constructor and then the bare data of each element."""
    count, pos = _compound_count(buf, code, pos, end)
    if pos >= end:
        raise AmqpDecodeError("array has no element constructor", pos)
    element = buf[pos]
    if element == 0x00:
        raise AmqpDecodeError("arrays of described values are not accepted", pos)
    items = []
    pos += 1
    if element >> 4 == 0x4 and count > end - pos + 255:
        raise AmqpDecodeError("array has too many elements without data", pos)
    for _ in range(count):
        # Each element is decoded as if its constructor stood before it.
        item, after = _decode_element(buf, element, pos, end, depth)
        items.append(item)
        pos = after
    if pos != end:
        raise AmqpDecodeError("bytes are left over in an array", pos)
    return items


def _decode_element(buf: bytes, code: int, pos: int, end: int, depth: int) -> tuple[Any, int]:
    width = _FIXED_WIDTH.get(code >> 4)
    if width is None:
        size_bytes = _VARIABLE_SIZE_BYTES.get(code >> 4)
        if size_bytes is None or pos + size_bytes > end:
            raise AmqpDecodeError("array element runs past its array", pos)
        size = buf[pos] if size_bytes == 1 else _unpack_u32(buf, pos)[0]
        width = size_bytes + size
    if pos + width > end:
        raise AmqpDecodeError("array element runs past its array", pos)
    item, after = decode_value(bytes((code,)) + bytes(buf[pos : pos + width]), 0, width + 1, depth)
    if after != width + 1:
        raise AmqpDecodeError("array element has bytes left over", pos)
    return item, pos + width


def _decode_rare(buf: bytes, code: int, pos: int, end: int) -> tuple[Any, int]:
    width = _RARE_WIDTHS.get(code)
    if width is None:
        raise AmqpDecodeError(f"unknown type constructor 0x{code:02x}", pos)
    after = pos + 1 + width
    if after > end:
        raise AmqpDecodeError("value runs past its container", pos)
    data = bytes(buf[pos + 1 : after])
    if code == 0x45:
        return [], after
    if code == 0x56:
        return data != b"\x00", after
    if code == 0x98:
        return UUID(bytes=data), after
    if code == 0x73:
        point = int.from_bytes(data, "big")
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise AmqpDecodeError("char is not a Unicode scalar", pos)
        return Char(chr(point)), after
    return Opaque(code, data), after


_RARE_WIDTHS: Final = {0x45: 0, 0x56: 1, 0x73: 4, 0x74: 4, 0x84: 8, 0x94: 16, 0x98: 16}
_VARIABLE_CODES: Final = frozenset((0xA0, 0xB0, 0xA1, 0xB1, 0xA3, 0xB3, 0xC0, 0xD0, 0xC1, 0xD1, 0xE0, 0xF0))
_KNOWN_CODES: Final = frozenset(_SCALARS) | frozenset(_CONSTANTS) | frozenset(_RARE_WIDTHS) | _VARIABLE_CODES
_FIXED_TOTAL: Final = [
    1 + _FIXED_WIDTH[code >> 4] if code in _KNOWN_CODES and code >> 4 in _FIXED_WIDTH else 0
    for code in range(256)
]
"""Bytes of a fixed-width value with its constructor, 0 for all others."""


def encode_value(value: Value) -> bytes:
    """Encodes a value in its shortest form.

    :raises TypeError: a Python type that has no AMQP counterpart here.
    :raises ValueError: a number outside its AMQP type.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        encoder = _encoder_by_base(value)
    try:
        encoded: bytes = encoder(value)
    except (struct.error, OverflowError):
        raise ValueError(f"{value!r} is outside the range of AMQP {type(value).__name__}") from None
    return encoded


def _encoder_by_base(value: Value) -> Value:
    for base in (Symbol, bool, int, float, str, bytes, dict, list):
        if isinstance(value, base):
            return _ENCODERS[base]
    if isinstance(value, tuple | bytearray | memoryview):
        return _ENCODERS[list] if isinstance(value, tuple) else _ENCODERS[bytes]
    raise TypeError(f"{type(value).__name__} has no AMQP type")


def _variable(short_code: int, data: bytes) -> bytes:
    if len(data) < 256:
        return bytes((short_code, len(data))) + data
    return bytes((short_code + 0x10,)) + len(data).to_bytes(4, "big") + data


def _compound(short_code: int, count: int, data: bytes) -> bytes:
    if count < 256 and len(data) < 255:
        return bytes((short_code, len(data) + 1, count)) + data
    return bytes((short_code + 0x10,)) + struct.pack(">II", len(data) + 4, count) + data


def _encode_uint(value: int) -> bytes:
    if value == 0:
        return b"\x43"
    return bytes((0x52, value)) if 0 < value < 256 else b"\x70" + struct.pack(">I", value)


def _encode_ulong(value: int) -> bytes:
    if value == 0:
        return b"\x44"
    return bytes((0x53, value)) if 0 < value < 256 else b"\x80" + struct.pack(">Q", value)


def _encode_signed(value: int, short_code: int, code: int, layout: str) -> bytes:
    if -128 <= value < 128:
        return bytes((short_code, value & 0xFF))
    return bytes((code,)) + struct.pack(layout, value)


def _encode_list(items: Value) -> bytes:
    if not items:
        return b"\x45"
    return _compound(0xC0, len(items), b"".join(map(encode_value, items)))


def _encode_map(entries: Value) -> bytes:
    data = b"".join(encode_value(key) + encode_value(value) for key, value in entries.items())
    return _compound(0xC1, 2 * len(entries), data)


def _encode_symbols(names: SymbolArray) -> bytes:
    short = all(len(name) < 256 for name in names)
    items = [name.encode("ascii") for name in names]
    data = b"".join(len(item).to_bytes(1 if short else 4, "big") + item for item in items)
    return _compound(0xE0, len(items), (b"\xa3" if short else b"\xb3") + data)


def _encode_described(value: Described) -> bytes:
    return b"\x00" + encode_value(value.descriptor) + encode_value(value.value)


_ENCODERS: Final[dict[type[Any], Any]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    Ubyte: lambda value: b"\x50" + struct.pack(">B", value),
    Byte: lambda value: b"\x51" + struct.pack(">b", value),
    Ushort: lambda value: b"\x60" + struct.pack(">H", value),
    Short: lambda value: b"\x61" + struct.pack(">h", value),
    Uint: _encode_uint,
    Ulong: _encode_ulong,
    Int: lambda value: _encode_signed(value, 0x54, 0x71, ">i"),
    int: lambda value: _encode_signed(value, 0x55, 0x81, ">q"),
    float: lambda value: b"\x82" + struct.pack(">d", value),
    Timestamp: lambda value: b"\x83" + struct.pack(">q", value),
    Char: lambda value: b"\x73" + struct.pack(">I", ord(value)),
    UUID: lambda value: b"\x98" + value.bytes,
    bytes: lambda value: _variable(0xA0, bytes(value)),
    str: lambda value: _variable(0xA1, value.encode()),
    Symbol: lambda value: _variable(0xA3, value.encode("ascii")),
    list: _encode_list,
    dict: _encode_map,
    SymbolArray: _encode_symbols,
    Described: _encode_described,
    Opaque: lambda value: bytes((value.code,)) + value.data,
}
