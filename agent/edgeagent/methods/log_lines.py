"""Lines of a module's log, and which of them are wanted (agent spec 5.4, rows D12 to D14)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LEVEL_DEFAULT = 6
STDERR = 2

_LINE = re.compile(
    r"(?:(?P<engine>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)\s)?"
    r"(?:<(?P<level>\d)>\s*)?"
    r"(?:(?P<own>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d)\s)?"
    r"(?P<text>[^\n]*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line.

    :param whole: as it came, for text answers.
    :param timestamp: as it is answered, the module's own where it has one, else the engine's; None without.
    :param text: without level and times.
    """

    whole: str
    stream: str
    level: int
    timestamp: str | None
    text: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are wanted.

    :param level: this one and no other, or with `up_to_level` this one and all that are graver.
    :param tail: so many of the last that are left.
    """

    tail: int | None = None
    level: int | None = None
    regex: re.Pattern[str] | None = None
    up_to_level: bool = False


def parse_line(whole: str, stream: int) -> LogLine:
    """Reads one line; whatever has no form is all text, of level 6."""
    found = _LINE.match(whole)
    assert found is not None
    own = _utc(found["own"]) if found["own"] else None
    return LogLine(
        whole,
        "stderr" if stream == STDERR else "stdout",
        int(found["level"] or LEVEL_DEFAULT),
        own or found["engine"],
        found["text"].rstrip("\r"),
    )


def _utc(own: str) -> str | None:
    try:
        moment = datetime.strptime(own, "%Y-%m-%d %H:%M:%S.%f %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def wanted(lines: Iterable[LogLine], log_filter: LogFilter) -> Iterable[LogLine]:
    """Level, then expression, then tail."""
    left = (line for line in lines if _passes(line, log_filter))
    return left if log_filter.tail is None else _last(left, log_filter.tail)


def _passes(line: LogLine, log_filter: LogFilter) -> bool:
    if log_filter.level is not None:
        graver = log_filter.up_to_level and line.level < log_filter.level
        if line.level != log_filter.level and not graver:
            return False
    return log_filter.regex is None or log_filter.regex.search(line.text) is not None


def _last(lines: Iterable[LogLine], count: int) -> Iterator[LogLine]:
    yield from deque(lines, maxlen=max(count, 0))
