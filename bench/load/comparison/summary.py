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

Columns = Mapping[str, Any]
"""A row: what one broker did in one scenario."""

LOAD_HEAD = (
    "scenario",
    "broker",
    "delivered/s",
    "spread",
    "x peer",
    "CPU us/msg",
    "x peer",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "peak MiB",
    "verdict",
)
HOLD_HEAD = ("scenario", "broker", "bytes each", "at once", "spread", "idle % of core", "peak MiB", "verdict")
CONNECTS_HEAD = (
    "scenario",
    "broker",
    "connected/s",
    "spread",
    "x peer",
    "CPU us each",
    "x peer",
    "p50 us",
    "p99 us",
    "verdict",
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


MEDIANS = {
    "delivered_per_s": ("delivered_per_s",),
    "connected_per_s": ("connected_per_s",),
    "bytes_per_connection": ("bytes_per_connection",),
    "bytes_per_connection_at_once": ("bytes_per_connection_at_once",),
    "cpu_us_per_delivered": ("broker", "cpu_us_per_delivered"),
    "cpu_us_per_connection": ("broker", "cpu_us_per_connection"),
    "broker_busy": ("broker", "busy"),
    "generator_busy": ("generator", "busy"),
    "latency_p50_us": ("latency_us", "p50"),
    "latency_p99_us": ("latency_us", "p99"),
    "latency_p999_us": ("latency_us", "p999"),
    "peak_rss_kib": ("broker", "peak_rss_kib"),
}
"""Fields of a row that are medians, and where they stand in a result. A kind of scenario has some of them."""

SPREADS = ("delivered_per_s", "connected_per_s", "bytes_per_connection")
RATIOS = ("delivered_per_s", "cpu_us_per_delivered", "connected_per_s", "cpu_us_per_connection")


def summarise(runs: Sequence[Run], scenario: str, broker: str) -> dict[str, Any] | None:
    """Medians of one broker in one scenario; None when it was not run there."""
    all_of_it = [run for run in runs if (run["scenario_name"], run["broker_name"]) == (scenario, broker)]
    good = [run for run in all_of_it if "error" not in run]
    if not all_of_it:
        return None
    row: dict[str, Any] = {
        "scenario": scenario,
        "broker": broker,
        "repeats": len(good),
        "failed": len(all_of_it) - len(good),
        "problems": sorted({problem for run in good for problem in run["problems"]}),
        "paced": any(value(run, "scenario", "rate_per_s") for run in good),
    }
    row |= {name: median(good, *path) for name, path in MEDIANS.items()}
    for name in SPREADS:
        found = [number for run in good if (number := value(run, *MEDIANS[name])) is not None]
        row |= {f"{name}_min": min(found, default=None), f"{name}_max": max(found, default=None)}
    return row


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
            for key in RATIOS:
                row[f"{key}_ratio"] = None if broker == peer else ratio(row[key], base.get(key))
            rows.append(row)
    return rows


def number(found: float | None, form: str = ",.0f") -> str:
    """A number, or a dash."""
    return "-" if found is None else format(found, form)


def mib(kib: float | None) -> str:
    """KiB as MiB."""
    return number(None if kib is None else kib / 1024, ".1f")


def spread(row: Columns, name: str) -> str:
    """From the lowest to the highest."""
    return f"{number(row[f'{name}_min'])}..{number(row[f'{name}_max'])}"


def limited(row: Columns) -> str:
    """A mark when the generator may have been the limit; one that keeps a pace spins in any case."""
    return " g" if (row["generator_busy"] or 0.0) >= GENERATOR_BUSY and not row["paced"] else ""


def load_cells(row: Columns) -> tuple[str, ...]:
    """The cells of a row, in the order of LOAD_HEAD."""
    return (
        row["scenario"],
        row["broker"],
        number(row["delivered_per_s"]) + limited(row),
        spread(row, "delivered_per_s"),
        number(row["delivered_per_s_ratio"], ".2f"),
        number(row["cpu_us_per_delivered"], ".2f"),
        number(row["cpu_us_per_delivered_ratio"], ".2f"),
        number(row["latency_p50_us"]),
        number(row["latency_p99_us"]),
        number(row["latency_p999_us"]),
        mib(row["peak_rss_kib"]),
        row.get("verdict", ""),
    )


def hold_cells(row: Columns) -> tuple[str, ...]:
    """The cells of a row, in the order of HOLD_HEAD."""
    busy = row["broker_busy"]
    return (
        row["scenario"],
        row["broker"],
        number(row["bytes_per_connection"]),
        number(row["bytes_per_connection_at_once"]),
        spread(row, "bytes_per_connection"),
        number(None if busy is None else 100 * busy, ".1f"),
        mib(row["peak_rss_kib"]),
        row.get("verdict", ""),
    )


def connects_cells(row: Columns) -> tuple[str, ...]:
    """The cells of a row, in the order of CONNECTS_HEAD."""
    return (
        row["scenario"],
        row["broker"],
        number(row["connected_per_s"]) + limited(row),
        spread(row, "connected_per_s"),
        number(row["connected_per_s_ratio"], ".2f"),
        number(row["cpu_us_per_connection"], ".1f"),
        number(row["cpu_us_per_connection_ratio"], ".2f"),
        number(row["latency_p50_us"]),
        number(row["latency_p99_us"]),
        row.get("verdict", ""),
    )


TABLES = {
    "run": (LOAD_HEAD, load_cells),
    "hold": (HOLD_HEAD, hold_cells),
    "connects": (CONNECTS_HEAD, connects_cells),
}
"""Head and cells by kind of scenario."""


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of one width each."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def table(rows: Sequence[Columns]) -> str:
    """The rows as text, a table for each kind of scenario, with what went wrong below."""
    text = []
    for kind, (head, cells) in TABLES.items():
        of_kind = [cells(row) for row in rows if row.get("kind", "run") == kind]
        if of_kind:
            text.append(text_table(head, of_kind) + "\n")
    if any(limited(row) for row in rows):
        text.append("g: the generator's core was full; the broker can do at least this")
    for row in rows:
        where = f"{row['scenario']}, {row['broker']}"
        text += [f"PROBLEM {where}: {problem}" for problem in row["problems"]]
        if row["failed"]:
            text.append(f"FAILED {where}: {row['failed']} runs without a result")
    return "\n".join(text)
