"""What the runs of the store come to, and the bars that it is held to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measuring.tables import VERDICTS, columns, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from measuring.store_runs import Figures

RATE = "messages_per_s"
FULL_BACKLOG = 10_000_000


@dataclass(frozen=True)
class Row:
    """All runs of one contender in one scenario and mode."""

    scenario: str
    contender: str
    mode: str
    runs: tuple[Figures, ...]

    def median(self, figure: str) -> float:
        """The median of a figure over the runs."""
        return statistics.median(float(run[figure]) for run in self.runs)

    def best(self, figure: str) -> float:
        """The best of a figure: the highest rate, the least of anything else."""
        values = [float(run[figure]) for run in self.runs]
        return max(values) if figure == RATE else min(values)

    def has(self, figure: str) -> bool:
        """Whether the scenario has this figure."""
        return all(figure in run for run in self.runs)

    @property
    def messages(self) -> int:
        """Messages of each run."""
        return int(self.median("messages"))


@dataclass(frozen=True)
class Bar:
    """One claim.

    :param figure: what is judged, of `mode` of this project's store in `scenario`.
    :param limit: what the figure, or its ratio to that of `peer`, is held against.
    :param at_least: whether the limit is the least (or else the most) that is right.
    :param peer: contender and mode to compare with; None for the figure itself.
    :param messages_min: the bar says nothing about runs with fewer messages.
    """

    name: str
    scenario: str
    mode: str
    figure: str
    limit: float
    at_least: bool
    peer: tuple[str, str] | None = None
    messages_min: int = 0

    def met(self, value: float) -> bool:
        """Whether a value is right."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Judged:
    """A bar with what was measured; values are None where the runs say nothing about it."""

    bar: Bar
    median: float | None
    best: float | None

    @property
    def verdict(self) -> str:
        """`ok`, `best` if only the best runs meet the bar, `not`; empty without a value."""
        if self.median is None or self.best is None:
            return VERDICTS[None]
        return (
            "best"
            if self.bar.met(self.best) and not self.bar.met(self.median)
            else VERDICTS[self.bar.met(self.median)]
        )


_APPEND, _GROUP, _STEADY, _BACKLOG = (
    "append_100B",
    "group_1000_outstanding",
    "steady_1KB_two_endpoints",
    "open_backlog",
)
_REFERENCE = ("rocksdb", "reference")
_WRITTEN = "written_per_payload_byte"
_KEEP, _KEPT = "keep_telemetry_200B", "kept_per_payload_byte"

BARS = (
    Bar("append none, messages/s", _APPEND, "none", RATE, 3e6, True),
    Bar("append none, bytes written per payload byte", _APPEND, "none", _WRITTEN, 1.7, False),
    Bar("group with 1,000 outstanding, times RocksDB's rate", _GROUP, "group", RATE, 10.0, True, _REFERENCE),
    Bar("group, bytes written per payload byte", _GROUP, "group", _WRITTEN, 1.7, False),
    Bar("steady none, times RocksDB's rate", _STEADY, "none", RATE, 5.0, True, _REFERENCE),
    Bar("steady none, RocksDB's CPU time", _STEADY, "none", "cpu_ns_per_message", 0.2, False, _REFERENCE),
    Bar("steady none, bytes written per payload byte", _STEADY, "none", _WRITTEN, 1.7, False),
    Bar("kept telemetry, bytes of files per payload byte", _KEEP, "none", _KEPT, 0.6, False),
    Bar("10 M backlog: open, s", _BACKLOG, "none", "open_s", 2.0, False, None, FULL_BACKLOG),
    Bar(
        "10 M backlog: memory, bytes", _BACKLOG, "none", "open_memory_bytes", 40e6, False, None, FULL_BACKLOG
    ),
    Bar(
        "10 M backlog: first delivery, s",
        _BACKLOG,
        "none",
        "first_delivery_s",
        0.1,
        False,
        None,
        FULL_BACKLOG,
    ),
    Bar("10 M backlog: drain, messages/s", _BACKLOG, "none", RATE, 5e5, True, None, FULL_BACKLOG),
)


def collect(runs: Iterable[Figures]) -> list[Row]:
    """The rows, in order of scenarios and of contenders as they first ran."""
    found: dict[tuple[str, str, str], list[Figures]] = {}
    for run in runs:
        found.setdefault((run["scenario"], run["contender"], run["mode"]), []).append(run)
    rows = [Row(*names, tuple(of_row)) for names, of_row in found.items()]
    places = {scenario: place for place, scenario in enumerate(dict.fromkeys(row.scenario for row in rows))}
    return sorted(rows, key=lambda row: places[row.scenario])


def _find(rows: Sequence[Row], scenario: str, contender: str, mode: str) -> Row | None:
    wanted = (scenario, contender, mode)
    return next((row for row in rows if (row.scenario, row.contender, row.mode) == wanted), None)


def judge_one(bar: Bar, rows: Sequence[Row]) -> Judged:
    """Holds the rows against a bar."""
    ours = _find(rows, bar.scenario, "edgehub", bar.mode)
    peer = _find(rows, bar.scenario, *bar.peer) if bar.peer else None
    if ours is None or ours.messages < bar.messages_min or (bar.peer and peer is None):
        return Judged(bar, None, None)

    def value(pick: Callable[[Row, str], float]) -> float:
        return pick(ours, bar.figure) / (pick(peer, bar.figure) if peer else 1.0)

    return Judged(bar, value(Row.median), value(Row.best))


def judge(rows: Sequence[Row]) -> list[Judged]:
    """Holds the rows against all bars."""
    return [judge_one(bar, rows) for bar in BARS]


def amount(value: float) -> str:
    """A number as a table shows it."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def megabytes(count: float) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:,.1f} MB"


def cells(row: Row) -> list[str]:
    """A row of the table of all contenders."""
    written = f"{row.median(_WRITTEN):.2f}" if row.has(_WRITTEN) else ""
    opened = ["", "", ""]
    if row.has("open_s"):
        times = [duration(row.median(figure) * 1e9) for figure in ("open_s", "first_delivery_s")]
        opened = [*times, megabytes(row.median("open_memory_bytes"))]
    return [
        f"{row.scenario}, {row.contender} {row.mode}",
        f"{row.messages:,}",
        f"{row.median(RATE):,.0f}",
        f"{row.best(RATE):,.0f}",
        f"{row.median('cpu_ns_per_message'):,.0f}",
        megabytes(row.median("peak_rss_bytes")),
        megabytes(row.median("disk_bytes")),
        written,
        *opened,
    ]


def store_table(rows: Sequence[Row]) -> str:
    """Every contender in every scenario."""
    header = (
        "medians",
        "messages",
        "messages/s",
        "best",
        "CPU ns/msg",
        "peak memory",
        "on disk",
        "written/B",
    )
    return columns((*header, "open", "first", "memory"), [cells(row) for row in rows])


def expiry_table(rows: Sequence[Row]) -> str:
    """What a sender noticed of an expiring backlog; empty if that was not measured."""
    quantiles = ("p50", "p99", "p999", "max")
    measured = [row for row in rows if row.has("expiring_append_max_s")]
    lines = [
        [
            f"{row.scenario}, {row.contender} {row.mode}, {what}",
            *(duration(row.median(f"{figure}_{quantile}_s") * 1e9) for quantile in quantiles),
        ]
        for row in measured
        for what, figure in (("nothing expires", "append"), (f"{row.messages:,} expire", "expiring_append"))
    ]
    return columns(("append, medians", "p50", "p99", "p99.9", "max"), lines) if lines else ""


def bar_table(judged: Sequence[Judged]) -> str:
    """Every bar with what was measured."""

    def shown(value: float | None) -> str:
        return "" if value is None else amount(value)

    rows = [
        (
            j.bar.name,
            shown(j.median),
            shown(j.best),
            (">= " if j.bar.at_least else "<= ") + amount(j.bar.limit),
            j.verdict,
        )
        for j in judged
    ]
    return columns(("bar", "median", "best", "limit", ""), rows)
