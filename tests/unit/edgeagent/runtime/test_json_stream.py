"""JSON objects in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.runtime.errors import EngineAnswerError
from edgeagent.runtime.json_stream import OBJECT_BYTES_MAX, JsonStream

OBJECTS = [{"status": "Pulling"}, {"id": "a\nb", "n": {"m": [1, 2]}}, {}, {"ü": '"}{'}]
TEXT = b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\r\n" for entry in OBJECTS)


@pytest.mark.parametrize("cut", range(len(TEXT) + 1))
def test_a_stream_may_be_cut_anywhere(cut: int) -> None:
    stream = JsonStream()
    found = stream.feed(TEXT[:cut]) + stream.feed(TEXT[cut:]) + stream.finish()
    assert found == OBJECTS


def test_byte_by_byte() -> None:
    stream = JsonStream()
    assert [entry for byte in TEXT for entry in stream.feed(bytes((byte,)))] == OBJECTS


def test_each_object_is_given_as_soon_as_its_line_is_whole() -> None:
    stream = JsonStream()
    assert stream.feed(b'{"a":1}\n{"b"') == [{"a": 1}]
    assert stream.feed(b":2}") == []
    assert stream.finish() == [{"b": 2}]
    assert stream.finish() == []


def test_objects_on_one_line_are_taken_apart() -> None:
    assert JsonStream().feed(b'{"a":1}{"b":2} {"c":3}\n\n\n') == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize("line", [b"[1]\n", b"1\n", b'"x"\n', b"{\n", b"<html>\n", b'{"a":1}x\n', b"\xff\n"])
def test_what_is_no_object_is_an_error(line: bytes) -> None:
    with pytest.raises(EngineAnswerError):
        JsonStream().feed(line)


def test_breaking_off_inside_of_an_object_is_an_error() -> None:
    stream = JsonStream()
    stream.feed(b'{"a":')
    with pytest.raises(EngineAnswerError):
        stream.finish()


def test_a_line_at_the_limit_and_one_beyond() -> None:
    line = b'{"a":"' + b"x" * (OBJECT_BYTES_MAX - 8) + b'"}'
    assert len(JsonStream().feed(line + b"\n")) == 1
    stream = JsonStream()
    stream.feed(line)
    with pytest.raises(EngineAnswerError, match=str(OBJECT_BYTES_MAX)):
        stream.feed(b" ")


def test_deep_nesting_is_an_error_of_ours() -> None:
    with pytest.raises(EngineAnswerError):
        JsonStream().feed(b'{"a":' * 100_000 + b"\n")


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_give_objects_or_our_error(pieces: list[bytes]) -> None:
    stream = JsonStream()
    try:
        for piece in pieces:
            assert all(isinstance(entry, dict) for entry in stream.feed(piece))
        stream.finish()
    except EngineAnswerError:
        pass
