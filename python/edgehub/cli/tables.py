"""Tables in columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Header and rows; the first column is text, the others are numbers."""


def print_tables(tables: Sequence[Table]) -> None:
    """With a frame on a terminal, else plain with an empty line behind each."""
    if sys.stdout.isatty():
        print_on_terminal(tables)
        return
    for table in tables:
        typer.echo(plain(table) + "\n")


def plain(table: Table) -> str:
    """A table in columns, without colour or frame."""
    header, rows = table
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]

    def shown(line: Sequence[str]) -> str:
        numbers = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        return "  ".join([line[0].ljust(widths[0]), *numbers])

    return "\n".join(map(shown, lines))


def print_on_terminal(tables: Iterable[Table]) -> None:
    """The same with a frame."""
    from rich.console import Console
    from rich.table import Table as Framed
    from rich.text import Text

    console = Console()
    for header, rows in tables:
        framed = Framed(header[0])
        for name in header[1:]:
            framed.add_column(name, justify="right")
        for row in rows:
            framed.add_row(*map(Text, row))
        console.print(framed)
