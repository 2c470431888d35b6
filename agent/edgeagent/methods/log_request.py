"""What a call for logs asks for (agent spec 5.4, rows D07 to D09). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgeagent.methods.errors import BadCallError
from edgeagent.methods.log_lines import LogFilter
from edgeagent.methods.payload import Payload

ITEMS_MAX = 100
PATTERN_CHARS_MAX = 1024
ALL = "all"


@dataclass(frozen=True, slots=True)
class LogItem:
    """One item: which modules, and which of their lines.

    :param since: as the caller wrote it, for the engine's door to read.
    """

    modules: re.Pattern[str]
    lines: LogFilter = field(default_factory=LogFilter)
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class LogRequest:
    """A whole request.

    :param gzip: compress each module's part.
    :param as_json: lines as objects, not as text.
    """

    items: tuple[LogItem, ...]
    gzip: bool = False
    as_json: bool = False


def parse_log_request(payload: Payload, *, up_to_level: bool = False) -> LogRequest:
    """Reads a payload.

    :param up_to_level: read `loglevel` as this level and all that are graver.
    :raises BadCallError: what is wrong, with its place.
    """
    items = payload.get("items")
    if isinstance(items, Mapping):
        items = [items]
    if not isinstance(items, list):
        raise BadCallError("Error parsing command payload because of error - payload.items: is missing")
    if len(items) > ITEMS_MAX:
        raise BadCallError(f"payload.items: {len(items)} items; at most {ITEMS_MAX} are allowed")
    return LogRequest(
        tuple(_item(Payload(item, f"items[{at}]"), up_to_level) for at, item in enumerate(items)),
        gzip=payload.one_of("encoding", "none", "gzip") == "gzip",
        as_json=payload.one_of("contentType", "text", "json") == "json",
    )


def _item(payload: Payload, up_to_level: bool) -> LogItem:
    name = payload.required_text("id")
    modules = re.compile("") if name.lower() == ALL else _pattern(name, "id", re.IGNORECASE)
    if payload.get("filter") is None:
        return LogItem(modules)
    wanted = Payload(payload.get("filter"), "filter")
    regex, tail = wanted.text("regex"), wanted.number("tail")
    if tail is not None and tail < 0:
        raise BadCallError(f"filter.tail: {tail} is below 0")
    lines = LogFilter(
        tail=tail,
        level=wanted.number("loglevel"),
        regex=None if regex is None else _pattern(regex, "regex"),
        up_to_level=up_to_level,
    )
    return LogItem(modules, lines, _moment(wanted, "since"), _moment(wanted, "until"))


def _moment(payload: Payload, name: str) -> str | None:
    value = payload.get(name)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else payload.text(name)


def _pattern(text: str, name: str, flags: int = 0) -> re.Pattern[str]:
    if len(text) > PATTERN_CHARS_MAX:
        raise BadCallError(f"{name}: more than {PATTERN_CHARS_MAX} characters")
    try:
        return re.compile(text, flags)
    except (re.error, RecursionError, OverflowError) as fault:
        raise BadCallError(f'{name}: "{text}" is not a regular expression: {fault}') from None


def assign_modules(names: Iterable[str], request: LogRequest) -> dict[str, LogItem]:
    """Each module with the first item that is about it (row D08)."""
    found: dict[str, LogItem] = {}
    for item in request.items:
        for name in sorted(names):
            if name not in found and item.modules.search(name):
                found[name] = item
    return found
