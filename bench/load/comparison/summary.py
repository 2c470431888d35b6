"""Medians over repeats, ratios to the peer, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Run = Mapping[str, Any]
"""A result of the generator with `broker_name`, `scenario_name` and `repeat`; a failed one has `error`."""

GENERATOR_BUSY = 0.95
"""From this share of a core on, the generator may be what limits the throughput."""

HEAD = (
    "scenario",
    "broker",
    "delivered/s",
    "spread",
    "x peer",
    "CPU us/msg",
    "x peer",
    "p50 us",
    "p99 us",
    "peak MiB",
)


def value(run: Run, *path: str) -> float | None:
    """A number in a result; None where it is missing."""
    found: Any = run
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def median(runs: Sequence[Run], *path: str) -> float | None:
    """Median over the runs that have the number."""
    found = [number for run in runs if (number := value(run, *path)) is not None]
    return statistics.median(found) if found else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Quotient; None where there is none."""
    return ours / theirs if ours is not None and theirs else None


def summarise(runs: Sequence[Run], scenario: str, broker: str) -> dict[str, Any] | None:
    """Medians of one broker in one scenario; None when it was not run there."""
    all_of_it = [run for run in runs if (run["scenario_name"], run["broker_name"]) == (scenario, broker)]
    good = [run for run in all_of_it if "error" not in run]
    if not all_of_it:
        return None
    rates = [float(run["delivered_per_s"]) for run in good]
    return {
        "scenario": scenario,
        "broker": broker,
        "repeats": len(good),
        "failed": len(all_of_it) - len(good),
        "delivered_per_s": median(good, "delivered_per_s"),
        "delivered_per_s_min": min(rates, default=None),
        "delivered_per_s_max": max(rates, default=None),
        "cpu_us_per_delivered": median(good, "broker", "cpu_us_per_delivered"),
        "broker_busy": median(good, "broker", "busy"),
        "generator_busy": median(good, "generator", "busy"),
        "latency_p50_us": median(good, "latency_us", "p50"),
        "latency_p99_us": median(good, "latency_us", "p99"),
        "peak_rss_kib": median(good, "broker", "peak_rss_kib"),
        "problems": sorted({problem for run in good for problem in run["problems"]}),
    }


def compare(
    runs: Sequence[Run], scenarios: Iterable[str], brokers: Sequence[str], peer: str
) -> list[dict[str, Any]]:
    """One row for each scenario and broker, with ratios to the peer of the same scenario."""
    rows: list[dict[str, Any]] = []
    for scenario in scenarios:
        base = summarise(runs, scenario, peer) or {}
        for broker in brokers:
            row = summarise(runs, scenario, broker)
            if row is None:
                continue
            for key in ("delivered_per_s", "cpu_us_per_delivered"):
                row[f"{key}_ratio"] = None if broker == peer else ratio(row[key], base.get(key))
            rows.append(row)
    return rows


def number(found: float | None, form: str = ",.0f") -> str:
    """A number, or a dash."""
    return "-" if found is None else format(found, form)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a row, in the order of HEAD."""
    low, high, peak = row["delivered_per_s_min"], row["delivered_per_s_max"], row["peak_rss_kib"]
    limited = " g" if (row["generator_busy"] or 0.0) >= GENERATOR_BUSY else ""
    return (
        row["scenario"],
        row["broker"],
        number(row["delivered_per_s"]) + limited,
        f"{number(low)}..{number(high)}",
        number(row["delivered_per_s_ratio"], ".2f"),
        number(row["cpu_us_per_delivered"], ".2f"),
        number(row["cpu_us_per_delivered_ratio"], ".2f"),
        number(row["latency_p50_us"]),
        number(row["latency_p99_us"]),
        number(None if peak is None else peak / 1024, ".1f"),
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text, with what went wrong below."""
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if any(line[2].endswith(" g") for line in lines):
        text.append("g: the generator's core was full; the broker can do at least this")
    for row in rows:
        where = f"{row['scenario']}, {row['broker']}"
        text += [f"PROBLEM {where}: {problem}" for problem in row["problems"]]
        if row["failed"]:
            text.append(f"FAILED {where}: {row['failed']} runs without a result")
    return "\n".join(text)
