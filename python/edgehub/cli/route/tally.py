"""What a run of messages through routes came to, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgehub.router import Delivery

VERDICTS = ("true", "false", "undefined")

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Header and rows; the first column is text, the others are numbers."""


@dataclass(slots=True)
class Tally:
    """Counts over all messages.

    :param verdicts: by route and verdict, of the routes whose source matched.
    :param chosen: by route, how often it was the one that decided for its endpoint.
    :param endpoints: by endpoint id.
    :param untaken: messages that went nowhere.
    :param wrong: lines that were no messages.
    """

    messages: int = 0
    untaken: int = 0
    wrong: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    chosen: Counter[str] = field(default_factory=Counter)
    endpoints: Counter[str] = field(default_factory=Counter)

    def add(self, verdicts: Mapping[str, str], deliveries: Sequence[Delivery]) -> None:
        """Counts one message."""
        self.messages += 1
        self.untaken += not deliveries
        self.verdicts.update(verdicts.items())
        self.chosen.update(delivery.route for delivery in deliveries)
        self.endpoints.update(delivery.endpoint for delivery in deliveries)

    def add_wrong(self) -> None:
        """Counts a line that is no message."""
        self.wrong += 1

    def route_table(self, routes: Iterable[str]) -> Table:
        """Routes as they were declared. Matched is a condition that is true; chosen, one that decided."""
        rows = [
            [name, *(f"{self.verdicts[name, verdict]:,}" for verdict in VERDICTS), f"{self.chosen[name]:,}"]
            for name in routes
        ]
        return ("route", "matched", "false", "undefined", "chosen"), rows

    def endpoint_table(self, endpoints: Iterable[str]) -> Table:
        """Endpoints of all routes."""
        return ("endpoint", "messages"), [[name, f"{self.endpoints[name]:,}"] for name in endpoints]

    def summary(self) -> str:
        """Messages, those that no route took, and lines that were none."""
        plural = "" if self.messages == 1 else "s"
        text = f"{self.messages:,} message{plural}, {self.untaken:,} taken by no route"
        return f"{text}, {self.wrong:,} wrong lines" if self.wrong else text


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
