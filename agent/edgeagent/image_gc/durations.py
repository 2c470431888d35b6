"""Spans of time as people write them: `1d`, `12h 30m`, `7 days` (agent spec 7.9). Pure."""

from __future__ import annotations

import re

TEXT_CHARS_MAX = 200
DURATION_S_MAX = 100 * 365 * 86_400
"""A hundred years; more is a mistake."""

_UNITS: dict[str, float] = {
    **dict.fromkeys(("ns", "nsec", "nanos"), 1e-9),
    **dict.fromkeys(("us", "usec", "micros"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millis"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
    **dict.fromkeys(("M", "month", "months"), 2_630_016),
    **dict.fromkeys(("y", "year", "years"), 31_557_600),
}
_WORD = re.compile(r"\s*(\d{1,12})\s*([A-Za-z]+)", re.ASCII)


def parse_duration_s(text: str) -> float:
    """Seconds of a span of time: numbers with units, added up.

    :raises ValueError: another form, or longer than a hundred years; the text says what would be right.
    """
    total_s, end = 0.0, 0
    trimmed = text.strip()
    while len(trimmed) <= TEXT_CHARS_MAX and (found := _WORD.match(trimmed, end)) and found[2] in _UNITS:
        total_s += int(found[1]) * _UNITS[found[2]]
        end = found.end()
    if end != len(trimmed) or not trimmed:
        raise ValueError(f'"{text[:40]}" is no span of time; expected such as 1d, 12h 30m or 7 days')
    if total_s > DURATION_S_MAX:
        raise ValueError(f'"{text[:40]}" is longer than a hundred years')
    return total_s
