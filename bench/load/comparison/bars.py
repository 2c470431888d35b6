"""What our hub must reach in a scenario, and whether it does.

A bar is held against the median of the runs; when only the best run meets it, the verdict is `best`. A bar
that is relative is held against the ratio to the peer's median (or best) in the same run.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comparison.summary import number, ratio, text_table, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comparison.summary import Run

AT_LEAST, AT_MOST, BELOW = "at least", "at most", "below"
NONE, GROUP = "none", "group"
"""StoreSync of our hub. mosquitto stores nothing, so that `none` is what compares with it."""
BYTES_PER_KB = 1024
DELIVERED_SHARE = 0.99
"""Of what was acknowledged in the interval; the rest is what was on its way when the interval ended."""


@dataclass(frozen=True)
class Bar:
    """One promise.

    Attributes:
        measure: what is measured, in words, with its unit.
        path: where it stands in a result of the generator; of two numbers, the first by the second.
        sense: `AT_LEAST`, `AT_MOST` or `BELOW`.
        limit: the number; a factor when `relative`.
        relative: the ratio to the peer counts.
        sync: StoreSync of the hub that it is for; None for each.
    """

    measure: str
    path: tuple[tuple[str, ...], ...]
    sense: str
    limit: float
    relative: bool = False
    sync: str | None = None

    @property
    def wants_more(self) -> bool:
        """Whether a higher number is better."""
        return self.sense == AT_LEAST

    @property
    def text(self) -> str:
        """The limit in words."""
        return f"{self.sense} {self.limit:,g}{' x peer' if self.relative else ''}"

    def is_for(self, broker: str) -> bool:
        """Whether the bar holds for the broker of this name."""
        return self.sync is None or broker.endswith(f" {self.sync}")

    def of(self, run: Run) -> float | None:
        """What a run has reached."""
        found = value(run, *self.path[0])
        return found if len(self.path) == 1 else ratio(found, value(run, *self.path[1]))

    def met_by(self, reached: float) -> bool:
        """Whether this is good enough."""
        met = {
            AT_LEAST: reached >= self.limit,
            AT_MOST: reached <= self.limit,
            BELOW: reached < self.limit,
        }
        return met[self.sense]


DELIVERED_PER_CPU = (("broker", "delivered_per_cpu_s"),)
CPU_US = (("broker", "cpu_us_per_delivered"),)


def per_cpu_second(*, none: float, group: float) -> tuple[Bar, ...]:
    """Times as many messages delivered per second of the broker's CPU time."""
    return tuple(
        Bar("delivered per CPU second", DELIVERED_PER_CPU, AT_LEAST, factor, relative=True, sync=sync)
        for sync, factor in ((NONE, none), (GROUP, group))
    )


def all_delivered() -> tuple[Bar, ...]:
    """What is acknowledged is delivered, not queued."""
    path = (("delivered",), ("acked",))
    return (Bar("delivered of acknowledged", path, AT_LEAST, DELIVERED_SHARE),)


def latency_like_peer() -> tuple[Bar, ...]:
    """From publish to receive, no slower than the peer."""
    return tuple(
        Bar(f"latency {name}, us", (("latency_us", name),), AT_MOST, 1, relative=True, sync=NONE)
        for name in ("p50", "p99")
    )


def bytes_per_connection(limit_kb: float) -> tuple[Bar, ...]:
    """Resident memory for each idle connection."""
    limit = limit_kb * BYTES_PER_KB
    return (Bar("bytes per connection", (("bytes_per_connection",),), AT_MOST, limit),)


def connects_like_peer() -> tuple[Bar, ...]:
    """As many connections per second as the peer takes."""
    return (Bar("connections per second", (("connected_per_s",),), AT_LEAST, 1, relative=True),)


CPU_PER_MESSAGE = (Bar("CPU us per message", CPU_US, BELOW, 1, relative=True, sync=NONE),)
BETTER_THAN_PEER = (Bar("delivered per CPU second", DELIVERED_PER_CPU, AT_LEAST, 10, relative=True),)
CONNECTS_PER_S = (Bar("connections per second", (("connected_per_s",),), AT_LEAST, 10_000),)


@dataclass(frozen=True)
class Judged:
    """A bar with what was reached."""

    scenario: str
    broker: str
    bar: Bar
    median: float | None
    best: float | None

    @property
    def verdict(self) -> str:
        """`ok`, `best`, `not`, or `-` when there is nothing to judge."""
        if self.median is None or self.best is None:
            return "-"
        if self.bar.met_by(self.median):
            return "ok"
        return "best" if self.bar.met_by(self.best) else "not"

    def to_json(self) -> dict[str, Any]:
        """For the result file."""
        return {
            "scenario": self.scenario,
            "broker": self.broker,
            "measure": self.bar.measure,
            "limit": self.bar.text,
            "median": self.median,
            "best": self.best,
            "verdict": self.verdict,
        }


def judge(
    runs: Sequence[Run], scenario: str, bars: Iterable[Bar], brokers: Iterable[str], peer: str
) -> list[Judged]:
    """The bars of one scenario, for each of our brokers that was run in it.

    Args:
        brokers: ours, by name.
    """
    of_scenario = [run for run in runs if run["scenario_name"] == scenario and "error" not in run]

    def reached(bar: Bar, broker: str) -> tuple[float | None, float | None]:
        found = [bar.of(run) for run in of_scenario if run["broker_name"] == broker]
        numbers = [number for number in found if number is not None]
        if not numbers:
            return None, None
        return statistics.median(numbers), (max if bar.wants_more else min)(numbers)

    judged = []
    for broker in brokers:
        for bar in (bar for bar in bars if bar.is_for(broker)):
            median, best = reached(bar, broker)
            if bar.relative:
                peer_median, peer_best = reached(bar, peer)
                median, best = ratio(median, peer_median), ratio(best, peer_best)
            if any(run["broker_name"] == broker for run in runs if run["scenario_name"] == scenario):
                judged.append(Judged(scenario, broker, bar, median, best))
    return judged


def worst(verdicts: Iterable[str]) -> str:
    """The one that a row shows; empty without bars."""
    order = ("not", "-", "best", "ok")
    return min(verdicts, key=order.index, default="")


def bar_table(judged: Sequence[Mapping[str, Any]]) -> str:
    """Every bar with its verdict."""
    head = ("scenario", "broker", "measure", "median", "best", "bar", "verdict")
    rows = [
        (
            row["scenario"],
            row["broker"],
            row["measure"],
            number(row["median"], ",.4g"),
            number(row["best"], ",.4g"),
            row["limit"],
            row["verdict"],
        )
        for row in judged
    ]
    return text_table(head, rows)
