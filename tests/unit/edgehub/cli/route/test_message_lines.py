"""Files of messages."""

from __future__ import annotations

import io
import os

import pytest

from edgehub.cli.route import message_lines
from edgehub.cli.route.message_lines import Line, batches


def lines(data: bytes) -> list[Line]:
    return [line for batch in batches(io.BytesIO(data)) for line in batch]


def test_blank_lines_have_a_number_but_no_index() -> None:
    found = lines(b'{}\n\n  \r\n{"body": "x"}')
    assert [(line.number, line.index, line.message) for line in found] == [(1, 0, {}), (4, 1, {"body": "x"})]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "not JSON"),
        (b"[1]", "expected a JSON object"),
        (b"\xff", "not UTF-8"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"properties": {"t": "1", "t": "2"}}', "'t' stands twice"),
        (b'{"a": Infinity}', "Infinity is no JSON number"),
        (b'{"body": "\\uD800"}', "half a surrogate pair"),
        (b"[" * 50_000, "nested too deep"),
    ],
)
def test_a_wrong_line_does_not_stop_the_others(line: bytes, error: str) -> None:
    first, wrong, last = lines(b"{}\n" + line + b"\n{}\n")
    assert (first.message, last.message) == ({}, {})
    assert wrong.message is None
    assert error in wrong.error


def test_a_line_that_is_too_long_is_skipped_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_lines, "LINE_BYTES_MAX", 10)
    found = lines(b"1" * 10 + b"\n" + b"2" * 35 + b"\n{}\n" + b"3" * 11)
    assert [line.error for line in found[1:]] == ["longer than 10 bytes", "", "longer than 10 bytes"]
    assert "expected a JSON object" in found[0].error
    assert found[2].message == {}


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_lines, "BATCH_MSGS", 3)
    sizes = [len(batch) for batch in batches(io.BytesIO(b"{}\n" * 7))]
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("read_bytes", range(1, 12))
def test_lines_may_be_read_in_any_pieces(monkeypatch: pytest.MonkeyPatch, read_bytes: int) -> None:
    monkeypatch.setattr(message_lines, "READ_BYTES", read_bytes)
    monkeypatch.setattr(message_lines, "LINE_BYTES_MAX", 12)
    found = lines(b'{"body":"x"}\r\n\n{}\n' + b" " * 13 + b'\n{"body":"y"}\n{}')
    assert [(line.number, line.index, line.message) for line in found if not line.error] == [
        (3, 1, {}),
        (5, 3, {"body": "y"}),
        (6, 4, {}),
    ]
    assert [(line.number, line.index, line.error) for line in found if line.error] == [
        (1, 0, "longer than 12 bytes"),
        (4, 2, "longer than 12 bytes"),
    ]


def test_what_is_there_is_not_held_back() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as reader, open(write_end, "wb", buffering=0) as writer:
        found = batches(reader)
        writer.write(b'{}\n{}\n{"bo')
        assert len(next(found)) == 2
        writer.write(b'dy":"x"}\n')
        assert [line.message for line in next(found)] == [{"body": "x"}]


def test_a_pair_of_surrogates_is_a_character() -> None:
    (line,) = lines(b'{"body": "\\ud83d\\ude00"}')
    assert line.message == {"body": "\U0001f600"}
