"""The ledger for people, and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from edgehub.demo.screen import duration_text, latency_text

if TYPE_CHECKING:
    from rich.console import Console

    from edgehub.demo.latency import LatencySummary
    from edgehub.demo.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    :param steady: latency of messages that were sent while the link was up and had no backlog to clear.
    :param overall: latency of all, those of the outage included.
    :param unrouted: messages that stayed on the gateway, as the hub itself counted them.
    :param waiting: messages that still waited in the hub for iothub when the books were closed.
    :param drained_s: time from the return of the link until its backlog was gone; None without an outage, or
        when that was not seen before the run's end.
    :param peak_backlog: largest number of messages that waited for the link.
    """

    ledger: Ledger
    steady: LatencySummary
    overall: LatencySummary
    unrouted: int
    waiting: int
    outage_s: float
    peak_backlog: int
    drained_s: float | None

    @property
    def exit_code(self) -> int:
        return 0 if self.ledger.ok else 1

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            **self.ledger.as_dict(),
            "hub_counted_unrouted": self.unrouted,
            "waiting_in_hub": self.waiting,
            "latency_ms": {"link_up": _quantiles(self.steady), "all": _quantiles(self.overall)},
            "outage": {
                "seconds": self.outage_s,
                "peak_backlog": self.peak_backlog,
                "drained_after_s": self.drained_s,
            },
        }


def ledger_lines(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Name, number and remark of every line of the ledger."""
    ledger = outcome.ledger
    unconfirmed = sum(hop.unconfirmed for hop in ledger.hops)
    lines = [
        ("sent by the devices", f"{ledger.sent:,}", "acknowledged by the hub"),
        ("received by the filter", f"{ledger.to_filter.arrived:,}", ""),
        ("filtered out", f"{ledger.filtered_out:,}", f"by WHERE; the hub counted {outcome.unrouted:,}"),
        (
            "forwarded",
            f"{ledger.forwarded:,}",
            f"{ledger.alerts.promised:,} alerts, {ledger.summaries.promised:,} summaries",
        ),
        ("delivered to iothub", f"{ledger.delivered:,}", ""),
        ("duplicates", f"{ledger.duplicates:,}", "redelivered; delivery is at least once"),
        ("lost", f"{ledger.lost:,}", _where_lost(outcome)),
        ("reordered", f"{ledger.reordered:,}", "within a device or stream"),
    ]
    if unconfirmed:
        lines.append(("never acknowledged", f"{unconfirmed:,}", "not promised, so not counted as lost"))
    if ledger.unexpected:
        lines.append(("unexpected", f"{ledger.unexpected:,}", "arrived where no route leads"))
    return lines


def print_report(console: Console, outcome: Outcome) -> None:
    """Ledger, latency and verdict."""
    table = Table(
        title="Ledger, by message id", title_justify="left", box=None, show_header=False, padding=(0, 2)
    )
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    for name, number, remark in ledger_lines(outcome):
        bad = name in {"lost", "reordered", "unexpected"} and number != "0"
        table.add_row(Text(name, "bold red" if bad else ""), number, remark)
    console.print(table)
    console.print()
    for line in _remarks(outcome):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print()
    console.print(Text(verdict(outcome), "bold green" if outcome.ledger.ok else "bold red"))


def verdict(outcome: Outcome) -> str:
    """The last line."""
    ledger = outcome.ledger
    if ledger.ok:
        return f"OK: {ledger.delivered:,} messages delivered, none lost, none reordered."
    if not ledger.sent or not ledger.delivered:
        return "FAILED: no message made it through."
    return f"FAILED: {ledger.lost:,} lost, {ledger.reordered:,} reordered, {ledger.unexpected:,} unexpected."


def _remarks(outcome: Outcome) -> list[str]:
    remarks = [
        f"latency device to iothub, link up: {latency_text(outcome.steady)}"
        f"; with the outage: {latency_text(outcome.overall)}"
    ]
    if outcome.outage_s:
        drained = (
            "not seen" if outcome.drained_s is None else f"{outcome.drained_s:.1f} s after the link was back"
        )
        remarks.append(
            f"link cut for {duration_text(outcome.outage_s * 1000)}: {outcome.peak_backlog:,} messages waited"
            f" at most; drained {drained}"
        )
    return remarks


def _where_lost(outcome: Outcome) -> str:
    ledger = outcome.ledger
    if not ledger.lost:
        return ""
    places = (
        ("on the way to the filter", ledger.to_filter.lost),
        ("in the filter", ledger.in_filter.lost),
        ("on the way to iothub", ledger.alerts.lost + ledger.summaries.lost),
    )
    text = ", ".join(f"{count:,} {place}" for place, count in places if count)
    return f"{text}; {outcome.waiting:,} still wait in the hub" if outcome.waiting else text


def _quantiles(summary: LatencySummary) -> dict[str, Any]:
    return asdict(summary)
