"""Frames of logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.runtime.errors import EngineAnswerError
from edgeagent.runtime.log_frames import FRAME_BYTES_MAX, FrameParser, LogFrame, LogStream, RawParser

FRAMES = [
    LogFrame(LogStream.STDOUT, b"one\n"),
    LogFrame(LogStream.STDERR, b"two\n"),
    LogFrame(LogStream.STDOUT, b"\x00\x01\x02"),
]
BYTES = b"".join(frame.encode() for frame in FRAMES)


def test_the_vector_of_the_spec() -> None:
    parser = FrameParser()
    assert parser.feed(bytes.fromhex("0200000000000003 61620a")) == [LogFrame(LogStream.STDERR, b"ab\n")]
    parser.finish()


@pytest.mark.parametrize("cut", range(len(BYTES) + 1))
def test_frames_may_be_cut_anywhere(cut: int) -> None:
    parser = FrameParser()
    assert parser.feed(BYTES[:cut]) + parser.feed(BYTES[cut:]) == FRAMES
    parser.finish()


def test_byte_by_byte() -> None:
    parser = FrameParser()
    assert [frame for byte in BYTES for frame in parser.feed(bytes((byte,)))] == FRAMES


def test_empty_frames_are_left_out_and_standard_input_counts_as_output() -> None:
    parser = FrameParser()
    data = bytes.fromhex("0100000000000000 0000000000000001 41 0300000000000001 42")
    assert parser.feed(data) == [LogFrame(LogStream.STDOUT, b"A"), LogFrame(LogStream.STDERR, b"B")]


@pytest.mark.parametrize("header", ["0400000000000001", "0101000000000001", "68656c6c6f20776f"])
def test_what_is_no_header_is_an_error(header: str) -> None:
    with pytest.raises(EngineAnswerError, match=header):
        FrameParser().feed(bytes.fromhex(header))


def test_breaking_off_inside_of_a_frame_is_an_error() -> None:
    for cut in (1, 7, 8, 10):
        parser = FrameParser()
        parser.feed(BYTES[:cut])
        with pytest.raises(EngineAnswerError, match="broke off"):
            parser.finish()


def test_a_frame_at_the_limit_and_one_beyond() -> None:
    whole = LogFrame(LogStream.STDOUT, b"x" * FRAME_BYTES_MAX)
    assert FrameParser().feed(whole.encode()) == [whole]
    with pytest.raises(EngineAnswerError, match=str(FRAME_BYTES_MAX)):
        FrameParser().feed(b"\1\0\0\0" + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


def test_a_terminal_has_no_frames() -> None:
    parser = RawParser()
    assert parser.feed(b"ab\n") == [LogFrame(LogStream.STDOUT, b"ab\n")]
    assert parser.feed(b"") == []
    parser.finish()


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_bytes_give_frames_or_our_error(pieces: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.finish()
    except EngineAnswerError:
        pass
