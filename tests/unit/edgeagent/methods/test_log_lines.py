"""Lines of logs, read and chosen (rows D12 to D14)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.methods.log_lines import LogFilter, parse_line, wanted

OWN = "<4> 2026-08-01 10:00:00.123 +00:00 [WRN] - slow"


@pytest.mark.parametrize(
    ("whole", "level", "timestamp", "text"),
    [
        (OWN, 4, "2026-08-01T10:00:00.123Z", "[WRN] - slow"),
        ("<6> 2026-08-01 12:00:00.123 +02:00 [INF] - x", 6, "2026-08-01T10:00:00.123Z", "[INF] - x"),
        ("plain text", 6, None, "plain text"),
        ("2026-08-01T10:00:00.123456789Z <3> x", 3, "2026-08-01T10:00:00.123456789Z", "x"),
        (f"2026-08-01T10:00:01.5Z {OWN}", 4, "2026-08-01T10:00:00.123Z", "[WRN] - slow"),
        ("ab\n", 6, None, "ab"),
        ("ab\r\n", 6, None, "ab"),
        ("", 6, None, ""),
        ("<12> x", 6, None, "<12> x"),
        ("<4> 2026-13-41 10:00:00.123 +00:00 x", 4, None, "x"),
    ],
)
def test_d12_lines(whole: str, level: int, timestamp: str | None, text: str) -> None:
    line = parse_line(whole, 1)
    assert (line.level, line.timestamp, line.text, line.whole) == (level, timestamp, text, whole)


def test_d12_streams() -> None:
    assert [parse_line("x", stream).stream for stream in (0, 1, 2)] == ["stdout", "stdout", "stderr"]


@given(st.text())
def test_any_text_is_a_line(whole: str) -> None:
    line = parse_line(whole, 1)
    assert line.whole == whole
    assert 0 <= line.level <= 9


LINES = [parse_line(f"<{level}> text {level}", 1) for level in (3, 4, 6, 4, 7)]


def _texts(log_filter: LogFilter) -> list[str]:
    return [line.text for line in wanted(LINES, log_filter)]


def test_d13_a_level_means_this_one_alone() -> None:
    assert _texts(LogFilter(level=4)) == ["text 4", "text 4"]


def test_d13_or_all_that_are_graver_too() -> None:
    assert _texts(LogFilter(level=4, up_to_level=True)) == ["text 3", "text 4", "text 4"]


def test_d14_the_expression_sees_the_text_alone_and_the_tail_comes_last() -> None:
    assert _texts(LogFilter(regex=re.compile("<"))) == []
    assert _texts(LogFilter(regex=re.compile("text [46]"), tail=2)) == ["text 6", "text 4"]
    assert _texts(LogFilter(level=4, tail=1)) == ["text 4"]
    assert _texts(LogFilter(tail=0)) == []
