"""What a run of messages through routes came to, as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgehub.cli.tables import Table
    from edgehub.router import Delivery

VERDICTS = ("true", "false", "undefined")


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
