"""The table of `iotedge list` (agent spec 8.1, row X14). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEADER = ("NAME", "STATUS", "DESCRIPTION", "Config")
COLUMN_CHARS_MIN = 15
GAP_CHARS = 2
PRECISE_S = 20

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_ROUGH = (
    (547 * _DAY, 365 * _DAY, "years", 2),
    (345 * _DAY, 0, "a year", 0),
    (45 * _DAY, 30 * _DAY, "months", 2),
    (29 * _DAY, 0, "a month", 0),
    (10 * _DAY + 12 * _HOUR, 7 * _DAY, "weeks", 2),
    (6 * _DAY + 12 * _HOUR, 0, "a week", 0),
    (36 * _HOUR, _DAY, "days", 2),
    (22 * _HOUR, 0, "a day", 0),
    (90 * _MINUTE, _HOUR, "hours", 2),
    (45 * _MINUTE, 0, "an hour", 0),
    (90, _MINUTE, "minutes", 2),
    (45, 0, "a minute", 0),
)
"""Longer than, unit (0 for a fixed text), text, least number."""


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One line of the table."""

    name: str
    status: str
    description: str
    image: str

    def cells(self) -> tuple[str, str, str, str]:
        return self.name, self.status, self.description, self.image


def module_rows(modules: Iterable[Mapping[str, Any]], now: datetime) -> list[ModuleRow]:
    """Lines of modules as the management API tells them, sorted by name."""
    rows = []
    for module in modules:
        status = _object(module, "status")
        runtime = _text(_object(status, "runtimeStatus"), "status") or "unknown"
        image = _text(_object(_object(module, "config"), "settings"), "image")
        rows.append(ModuleRow(_text(module, "name"), runtime, describe(runtime, status, now), image))
    return sorted(rows, key=lambda row: row.name)


def describe(runtime: str, status: Mapping[str, Any], now: datetime) -> str:
    """`Up 5 minutes`, `Stopped an hour ago`, `Failed (1) 20 seconds ago`, `Unknown`.

    A module that waits for its next start (`backoff`) is told as one that failed, one whose health check
    fails as one that is up.
    """
    ended = _object(status, "exitStatus")
    if runtime in ("running", "unhealthy"):
        since = _time(status.get("startTime"))
        return "Up" if since is None else f"Up {duration(_seconds(now, since))}"
    since = _time(ended.get("exitTime"))
    if runtime in ("stopped", "dead"):
        return "Stopped" if since is None else f"Stopped {_ago(now, since)}"
    if runtime in ("failed", "backoff"):
        return "Failed" if since is None else f"Failed ({ended.get('statusCode')}) {_ago(now, since)}"
    return "Unknown"


def _ago(now: datetime, moment: datetime) -> str:
    return f"{duration(_seconds(now, moment))} ago"


def duration(seconds: int) -> str:
    """Up to twenty seconds as they are, beyond that roughly."""
    if seconds <= PRECISE_S:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    for longer_than_s, unit_s, text, least in _ROUGH:
        if seconds > longer_than_s:
            return text if not unit_s else f"{max(seconds // unit_s, least)} {text}"
    return f"{seconds} seconds"


def plain_table(rows: Iterable[ModuleRow]) -> Iterator[str]:
    """Lines with columns of 15 characters or more."""
    table = [HEADER, *(row.cells() for row in rows)]
    widths = [max(COLUMN_CHARS_MIN, *(len(line[at]) for line in table)) for at in range(len(HEADER) - 1)]
    for line in table:
        first = "".join(cell.ljust(width + GAP_CHARS) for cell, width in zip(line, widths, strict=False))
        yield first + line[-1]


def _seconds(now: datetime, moment: datetime) -> int:
    return max(0, int((now - moment).total_seconds()))


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = value.get(name)
    return member if isinstance(member, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    member = value.get(name)
    return member if isinstance(member, str) else ""
