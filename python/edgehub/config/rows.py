"""One row of the settings table. The rows live on the fields of the section classes, so the name, the
reader, the default and the documentation of a setting stand in one place and cannot drift apart."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.config.values import Reader

T = TypeVar("T")

_KEY = "row"


@dataclass(frozen=True, slots=True)
class Row:
    """A setting that takes effect.

    :param env: name of the environment variable; case is ignored, `__` and `:` nest.
    :param lenient: an unreadable value falls back to the default with a warning, as in the reference.
    :param secret: the value never appears in an error or a log line.
    :param aliases: other names that mean the same; `env` wins.
    :param own: not known to the reference.
    """

    env: str
    reader: Reader[Any]
    default: Any
    doc: str
    unit: str
    lenient: bool
    secret: bool
    aliases: tuple[str, ...]
    own: bool


def setting(  # noqa: PLR0913 - one parameter per column of the table
    env: str,
    reader: Reader[T],
    default: T,
    doc: str,
    *,
    unit: str = "",
    lenient: bool = False,
    secret: bool = False,
    aliases: tuple[str, ...] = (),
    own: bool = False,
) -> T:
    """Declares a field of a section together with its row."""
    row = Row(env, reader, default, doc, unit, lenient, secret, aliases, own)
    declared: T = field(default=default, metadata={_KEY: row})
    return declared


def rows_of(section: type[Any]) -> Iterator[tuple[str, Row]]:
    """Field names and rows of a section class, in the order of declaration."""
    for item in fields(section):
        yield item.name, item.metadata[_KEY]
