"""Readers of setting values. Each takes the raw text and either returns a value or raises
`ValueError` whose text says what would be right (settings spec 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from edgehub.common.timespan import format_time_span, parse_time_span_ms
from edgehub.config.ssl_protocols import read_ssl_protocols, remark_of, write_ssl_protocols

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INT32_MAX = 2**31 - 1
PROPERTY_NAME_MAX = 128
"""Characters of the name of a property that settings choose."""


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """A type of setting: its name in the documentation and how it is read and written.

    :param remark: what to warn about in a text that can be read; empty for nothing.
    """

    name: str
    read: Callable[[str], T]
    write: Callable[[T], str] = str
    remark: Callable[[str], str] = lambda text: ""


def _read_bool(text: str) -> bool:
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError("`true` or `false`")


def _write_bool(value: bool) -> str:
    return "true" if value else "false"


def _read_csv(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def integer(least: int = -INT32_MAX - 1, most: int = INT32_MAX) -> Reader[int]:
    """A whole number in decimal digits within both bounds."""

    def read(text: str) -> int:
        digits = text.strip()
        unsigned = digits[1:] if digits[:1] in ("+", "-") else digits
        if not (unsigned.isascii() and unsigned.isdigit() and len(unsigned) <= 19):
            raise ValueError(f"a whole number from {least} to {most}")
        value = int(digits)
        if not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return Reader("int", read)


def choice(*names: str) -> Reader[str]:
    """One of the given names, any case; the value is the name as spelled here."""
    by_folded = {name.casefold(): name for name in names}

    def read(text: str) -> str:
        found = by_folded.get(text.strip().casefold())
        if found is None:
            raise ValueError("one of " + ", ".join(names))
        return found

    return Reader(" / ".join(names), read)


def property_name(least: int = 1) -> Reader[str]:
    """A name, or the start of one, of a property of messages: so many characters or more. `$` begins the
    names of system properties."""

    def read(text: str) -> str:
        name = text.strip()
        if not (least <= len(name) <= PROPERTY_NAME_MAX and name.isprintable()) or name.startswith("$"):
            raise ValueError(
                f"{least} to {PROPERTY_NAME_MAX} printable characters that do not begin with `$`"
            )
        return name

    return Reader("string", read)


def optional(reader: Reader[T]) -> Reader[T | None]:
    """The same reader for a setting without default."""
    return Reader(reader.name, reader.read, lambda value: "unset" if value is None else reader.write(value))


TEXT: Reader[str] = Reader("string", str)
BOOL: Reader[bool] = Reader("bool", _read_bool, _write_bool)
INT: Reader[int] = integer()
PORT: Reader[int] = integer(0, 65535)
SECS: Reader[int] = integer(0)
COUNT: Reader[int] = integer(1)
TIME_SPAN_MS: Reader[int] = Reader("time span", parse_time_span_ms, format_time_span)
TLS_VERSIONS: Reader[tuple[str, ...]] = Reader(
    "list", lambda text: read_ssl_protocols(text).versions, write_ssl_protocols, remark_of
)
CSV: Reader[tuple[str, ...]] = Reader("list", _read_csv, ",".join)
