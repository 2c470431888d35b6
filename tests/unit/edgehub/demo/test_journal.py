from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.journal import LINE_BYTES_MAX, JournalError, JournalReader, JournalWriter, LineSplitter

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=3), max_size=10)


@given(ENTRIES, st.lists(st.integers(0, 500), max_size=10))
def test_lines_come_out_whole_wherever_the_file_is_cut(
    entries: list[dict[str, str]], cuts: list[int]
) -> None:
    text = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
    splitter = LineSplitter("x")
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    found = [entry for start, end in itertools.pairwise(places) for entry in splitter.feed(text[start:end])]
    assert found == entries


@pytest.mark.parametrize("line", [b"x\n", b"[1]\n", b"\n", b'{"a":\n'])
def test_a_damaged_line_is_named(line: bytes) -> None:
    splitter = LineSplitter("a.jsonl")
    splitter.feed(b"{}\n")
    with pytest.raises(JournalError, match=r"a\.jsonl: line 2"):
        splitter.feed(line)


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(JournalError, match="line 1 is too long"):
        LineSplitter("a.jsonl").feed(b"x" * (LINE_BYTES_MAX + 1))


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    reader = JournalReader(path)
    assert reader.read_new() == []
    with JournalWriter(path) as writer:
        writer.write(begun="a-000001", at_ms=1.5)
        assert reader.read_new() == [{"begun": "a-000001", "at_ms": 1.5}]
        assert reader.read_new() == []
        writer.write(acked="a-000001")
    assert reader.read_new() == [{"acked": "a-000001"}]
