"""`since` and `until`: a duration back from now, RFC 3339, or UNIX seconds (agent spec 5.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS_S = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_PART = re.compile(r"\s*(\d{1,9})\s*([a-z]+)\s*", re.ASCII)
_UNIX = re.compile(r"\d{1,12}", re.ASCII)


def parse_moment_s(text: str, now_s: float) -> int:
    """UNIX seconds of a moment.

    :raises ValueError: none of the forms; the text says which there are.
    """
    trimmed = text.strip()
    if _UNIX.fullmatch(trimmed):
        return int(trimmed)
    duration_s = parse_duration_s(trimmed)
    if duration_s is not None:
        return max(int(now_s) - duration_s, 0)
    try:
        moment = datetime.fromisoformat(trimmed)
    except ValueError:
        raise ValueError(
            f'"{text}": expected a duration such as 90m or 1 day, a time such as 2026-01-02T03:04:05Z, '
            "or seconds since 1970"
        ) from None
    return max(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()), 0)


def parse_duration_s(text: str) -> int | None:
    """Seconds of `1 day`, `90m` or `2h30m`; None for anything else."""
    total_s, at = 0, 0
    while at < len(text):
        found = _PART.match(text.lower(), at)
        if found is None or found[2] not in _UNITS_S:
            return None
        total_s += int(found[1]) * _UNITS_S[found[2]]
        at = found.end()
    return total_s if text.strip() else None
