"""Readers of single settings: text to value, with what would be right in every error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Reader: TypeAlias = Callable[[str], T]

_SPAN = re.compile(r"(?:(\d{1,8})\.)?(\d{1,2}):([0-5]?\d)(?::([0-5]?\d)(?:\.\d{1,7})?)?", re.ASCII)
_TRUTH = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def text(value: str) -> str:
    """Any text, trimmed."""
    return value.strip()


def truth(value: str) -> bool:
    """:raises ValueError: neither true nor false."""
    try:
        return _TRUTH[value.strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def whole(least: int, most: int) -> Reader[int]:
    """A whole number within bounds."""

    def read(value: str) -> int:
        trimmed = value.strip()
        if not re.fullmatch(r"-?\d{1,18}", trimmed, re.ASCII) or not least <= int(trimmed) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(trimmed)

    return read


def one_of(*names: str) -> Reader[str]:
    """One of some names, in any case."""
    by_name = {name.lower(): name for name in names}

    def read(value: str) -> str:
        try:
            return by_name[value.strip().lower()]
        except KeyError:
            raise ValueError(f"expected one of {', '.join(names)}") from None

    return read


def span_s(least_s: int) -> Reader[int]:
    """Seconds of a duration written `[d.]hh:mm[:ss]`, with a lower bound; parts of seconds are dropped."""

    def read(value: str) -> int:
        found = _SPAN.fullmatch(value.strip())
        if found is None or int(found[2]) > 23:
            raise ValueError("expected a duration such as 01:30:00 or 7.00:00:00")
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        total_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if total_s < least_s:
            raise ValueError(f"expected at least {least_s} s")
        return total_s

    return read
