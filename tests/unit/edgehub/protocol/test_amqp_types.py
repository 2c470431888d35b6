"""The AMQP value codec."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_types import (
    DEPTH_MAX,
    AmqpDecodeError,
    Byte,
    Char,
    Described,
    Int,
    Opaque,
    Short,
    Symbol,
    SymbolArray,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    decode_value,
    encode_value,
    skip_value,
)
from unit.edgehub.protocol.amqp_helpers import values

ENCODINGS = [
    (None, "40"),
    (True, "41"),
    (False, "42"),
    (Uint(0), "43"),
    (Uint(255), "52ff"),
    (Uint(256), "7000000100"),
    (Ulong(0), "44"),
    (Ulong(255), "53ff"),
    (Ulong(256), "800000000000000100"),
    (Ubyte(7), "5007"),
    (Byte(-1), "51ff"),
    (Ushort(258), "600102"),
    (Short(-2), "61fffe"),
    (Int(-1), "54ff"),
    (Int(200), "71000000c8"),
    (-1, "55ff"),
    (128, "810000000000000080"),
    (1.5, "823ff8000000000000"),
    (Timestamp(1), "830000000000000001"),
    (Char("a"), "7300000061"),
    (UUID(int=1), "98" + "00" * 15 + "01"),
    (b"", "a000"),
    (b"x" * 256, "b000000100" + "78" * 256),
    ("é", "a102c3a9"),
    (Symbol("a"), "a30161"),
    ([], "45"),
    ([1, "a"], "c006025501a10161"),
    ({}, "c10100"),
    ({"a": 1}, "c10602a101615501"),
    (Described(Ulong(0x75), b"a"), "005375a00161"),
    (Opaque(0x74, b"\x01\x02\x03\x04"), "7401020304"),
]
DECODINGS = [
    ("5601", True),
    ("5600", False),
    ("723fc00000", 1.5),
    ("d0000000060000000155 01".replace(" ", ""), [1]),
    ("d100000009 00000002 a10161 5501".replace(" ", ""), {"a": 1}),
    ("b10000000161", "a"),
    ("b30000000161", Symbol("a")),
    ("e0060 2a3 0161 0162".replace(" ", ""), ["a", "b"]),
    ("f00000000700000002 70".replace(" ", "") + "0001", None),
    ("e00403500102 03".replace(" ", ""), None),
    ("e0050350010203", [1, 2, 3]),
    ("e0020541", [True] * 5),
]


@pytest.mark.parametrize(("value", "encoded"), ENCODINGS, ids=lambda item: repr(item)[:30])
def test_encoding_is_the_shortest_and_decodes_with_its_type(value: Any, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert encode_value(value) == raw
    decoded, end = decode_value(raw, 0, len(raw))
    assert (decoded, type(decoded), end) == (value, type(value), len(raw))
    assert skip_value(raw, 0, len(raw)) == len(raw)


@pytest.mark.parametrize(("encoded", "value"), DECODINGS)
def test_other_encodings_are_read_or_refused(encoded: str, value: Any) -> None:
    raw = bytes.fromhex(encoded)
    if value is None:
        with pytest.raises(AmqpDecodeError):
            decode_value(raw, 0, len(raw))
    else:
        assert decode_value(raw, 0, len(raw)) == (value, len(raw))
        assert skip_value(raw, 0, len(raw)) == len(raw)


@pytest.mark.parametrize("names", [(), ("PLAIN",), ("ANONYMOUS", "x" * 300)])
def test_symbol_arrays(names: Any) -> None:
    raw = encode_value(SymbolArray(names))
    assert decode_value(raw, 0, len(raw)) == ([Symbol(name) for name in names], len(raw))


@pytest.mark.parametrize(
    "encoded",
    ["1f", "46", "57", "9f", "c2", "a1", "a102c3", "a101ff", "a301ff", "b1000000",
     "73ffffffff", "7300 00d800",
     "c10502450055 01", "e00100", "e00300 00".replace(" ", ""), "f0000000050fffffff41", "c00402", "00"],
)  # fmt: skip
def test_malformed_values(encoded: str) -> None:
    raw = bytes.fromhex(encoded.replace(" ", ""))
    with pytest.raises(AmqpDecodeError):
        decode_value(raw, 0, len(raw))


@pytest.mark.parametrize(
    "value", [Uint(-1), Uint(2**32), Ulong(2**64), 2**63, Int(2**31), Ubyte(256), Timestamp(2**63)]
)
def test_numbers_outside_their_type_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="outside the range"):
        encode_value(value)


def test_types_without_counterpart_are_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        encode_value({1})


@pytest.mark.parametrize("read", [decode_value, skip_value])
def test_nesting_is_bounded(read: Any) -> None:
    inner: object = None
    for _ in range(DEPTH_MAX - 1):
        inner = [inner]
    at_limit = encode_value(inner)
    read(at_limit, 0, len(at_limit))
    beyond = encode_value([inner])
    with pytest.raises(AmqpDecodeError, match="deeper"):
        read(beyond, 0, len(beyond))


def test_a_huge_count_costs_nothing() -> None:
    raw = b"\xd0" + struct.pack(">II", 4, 0xFFFFFFFF)
    for read in (decode_value, skip_value):
        with pytest.raises(AmqpDecodeError):
            read(raw, 0, len(raw))


@given(values)
def test_round_trip(value: Any) -> None:
    raw = encode_value(value)
    decoded, end = decode_value(raw, 0, len(raw))
    assert (decoded, end) == (value, len(raw))
    assert encode_value(decoded) == raw
    assert skip_value(raw, 0, len(raw)) == len(raw)


@given(values, st.data())
def test_every_cut_is_an_error(value: Any, data: Any) -> None:
    raw = encode_value(value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    for read in (decode_value, skip_value):
        with pytest.raises(AmqpDecodeError):
            read(raw[:cut], 0, cut)


@given(st.binary(max_size=200))
def test_decoding_accepts_no_more_than_skipping(raw: Any) -> None:
    """Skipping checks structure, decoding also text and map keys; nothing else may escape."""
    try:
        end = skip_value(raw, 0, len(raw))
    except AmqpDecodeError:
        end = None
    try:
        decoded = decode_value(raw, 0, len(raw))[1]
    except AmqpDecodeError:
        return
    assert decoded == end
