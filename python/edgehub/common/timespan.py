"""Durations written the .NET way, `[d.]hh:mm:ss[.f]`, as the reference's settings use them."""

from __future__ import annotations

import re

_TIME_SPAN = re.compile(
    r"(?P<sign>-)?(?:(?P<days>\d{1,8})\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})"
    r"(?::(?P<seconds>\d{1,2})(?:\.(?P<fraction>\d{1,7}))?)?",
    re.ASCII,
)


def parse_time_span_ms(text: str) -> int:
    """Milliseconds of a duration such as `00:01:00` or `1.12:00:00.250`.

    :raises ValueError: not of that form, or hours above 23, minutes or seconds above 59.
    """
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError("a duration of the form [d.]hh:mm:ss[.f]")
    days, hours, minutes, seconds = (
        int(match[name] or 0) for name in ("days", "hours", "minutes", "seconds")
    )
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("a duration with hours up to 23, minutes and seconds up to 59")
    fraction_ms = int((match["fraction"] or "0").ljust(3, "0")[:3])
    total_ms = ((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000 + fraction_ms
    return -total_ms if match["sign"] else total_ms


def format_time_span(total_ms: int) -> str:
    """The shortest form that `parse_time_span_ms` reads back to the same value."""
    sign = "-" if total_ms < 0 else ""
    seconds_total, ms = divmod(abs(total_ms), 1000)
    minutes_total, seconds = divmod(seconds_total, 60)
    hours_total, minutes = divmod(minutes_total, 60)
    days, hours = divmod(hours_total, 24)
    day_text = f"{days}." if days else ""
    fraction = f".{ms:03d}" if ms else ""
    return f"{sign}{day_text}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"
