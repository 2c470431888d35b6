"""The message format taps on both directions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_batch import BATCH_FORMAT
from edgehub.protocol.amqp_frames import FORMAT_TAG_BYTES, FormatReader, FormatWriter, tag_with_format
from edgehub.protocol.amqp_types import Described, Uint, Ulong, encode_value

HEADER = b"AMQP\x00\x01\x00\x00"


def frame(body: bytes, *, kind: int = 0, extended: bytes = b"") -> bytes:
    size = 8 + len(extended) + len(body)
    return size.to_bytes(4, "big") + bytes((2 + len(extended) // 4, kind, 0, 1)) + extended + body


def transfer(
    message_format: int | None,
    *,
    tag: bytes = b"tagtagtag",
    payload: bytes = b"",
    delivery_id: int = 7,
    **kwargs: Any,
) -> bytes:
    fields = [Uint(300), Uint(delivery_id), tag, message_format, False, True]
    return frame(encode_value(Described(Ulong(0x14), fields)) + payload, **kwargs)


FLOW = frame(encode_value(Described(Ulong(0x13), [Uint(1), Uint(2), Uint(3), Uint(4)])))
EMPTY = frame(b"")
BATCH = transfer(Uint(BATCH_FORMAT), payload=b"x" * 500)
STREAM = (
    HEADER
    + FLOW
    + transfer(Uint(0))
    + BATCH
    + EMPTY
    + BATCH
    + transfer(None)
    + transfer(Uint(5), extended=b"\0" * 8)
)
FORMATS = [BATCH_FORMAT, BATCH_FORMAT, 5]


def read(pieces: Any) -> Any:
    reader = FormatReader()
    out = [piece for data in pieces for piece in reader.feed(data)]
    return b"".join(data for data, _ in out), [fmt for _, fmt in out if fmt], out


def test_formats_are_found_and_frames_stand_alone() -> None:
    data, formats, out = read([STREAM])
    assert data == STREAM
    assert formats == FORMATS
    assert [piece for piece, fmt in out if fmt] == [BATCH, BATCH, transfer(Uint(5), extended=b"\0" * 8)]


def test_byte_by_byte() -> None:
    """Split anywhere: the format comes with the piece that completes its frame."""
    data, formats, out = read([bytes([byte]) for byte in STREAM])
    assert (data, formats) == (STREAM, FORMATS)
    ends = [
        len(b"".join(piece for piece, _ in out[: index + 1])) for index, (_, fmt) in enumerate(out) if fmt
    ]
    first = STREAM.index(BATCH)
    assert ends[:2] == [first + len(BATCH), first + 2 * len(BATCH) + len(EMPTY)]


@given(st.lists(st.integers(1, len(STREAM)), max_size=6))
def test_any_cut(cuts: list[int]) -> None:
    points = sorted({0, len(STREAM), *cuts})
    pieces = [STREAM[a:b] for a, b in pairwise(points)]
    assert read(pieces)[:2] == (STREAM, FORMATS)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_random_bytes_pass_through_in_order(data: Any, step: int) -> None:
    """Broken frames are for proton to judge; at most the head of a frame is still held back."""
    out = read([data[i : i + step] for i in range(0, len(data), step)])[0]
    assert data.startswith(out)


@pytest.mark.parametrize("payload", [b"", b"y" * 300])
def test_the_writer_moves_the_format_out_of_the_tag(payload: bytes) -> None:
    """`a0 0c tag8 fmt4 43` becomes `a0 08 tag8 70 fmt4`."""
    proton = transfer(Uint(0), tag=tag_with_format(9, BATCH_FORMAT), payload=payload)
    wanted = transfer(Uint(BATCH_FORMAT), tag=(9).to_bytes(8, "big"), payload=payload)
    assert len(tag_with_format(9, BATCH_FORMAT)) == FORMAT_TAG_BYTES
    assert FormatWriter().feed(proton) == wanted


def test_the_writer_leaves_everything_else_alone() -> None:
    untouched = HEADER + FLOW + transfer(Uint(0)) + transfer(Uint(0), tag=b"t" * 16) + EMPTY
    assert FormatWriter().feed(untouched) == untouched
    tagged = transfer(Uint(0), tag=tag_with_format(1, 5))
    assert FormatWriter().feed(untouched + tagged).startswith(untouched)


@given(st.lists(st.integers(1, 200), max_size=6))
def test_the_writer_may_be_fed_any_pieces(cuts: list[int]) -> None:
    stream = HEADER + transfer(Uint(0), tag=tag_with_format(9, BATCH_FORMAT)) + FLOW
    points = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    writer = FormatWriter()
    out = b"".join(writer.feed(stream[a:b]) for a, b in pairwise(points))
    assert out == FormatWriter().feed(stream)
    assert len(out) == len(stream)
