"""Resident memory of one process over time, and the table of what a setting makes of it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison.summary import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SAMPLE_S = 0.1
KIB_PER_MIB = 1024

HEAD = (
    "load",
    "OptimizeForPerformance",
    "UsePooledBuffers",
    "delivered/s",
    "CPU us/msg",
    "before MiB",
    "load MiB",
    "peak MiB",
    "after MiB",
)


def resident_kib(pid: int) -> int:
    """`VmRSS` of a process in KiB.

    Raises:
        OSError: there is no such process.
        ValueError: it has ended and was not waited for yet.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "VmRSS":
            return int(rest.split()[0])
    raise ValueError(f"process {pid} has no memory any more")


@dataclass
class Watch:
    """Samples of one process."""

    pid: int
    sleep: Callable[[float], None] = time.sleep
    read: Callable[[int], int] = resident_kib
    samples_kib: list[int] = field(default_factory=list)

    def sample(self) -> int:
        """Takes one sample, in KiB."""
        self.samples_kib.append(self.read(self.pid))
        return self.samples_kib[-1]

    def while_running(self, ended: Callable[[], bool], limit_s: float) -> dict[str, float]:
        """Samples until `ended`: median and largest value, KiB.

        Raises:
            TimeoutError: it did not end within `limit_s`.
        """
        taken: list[int] = []
        for _ in range(int(limit_s / SAMPLE_S)):
            if ended():
                taken = taken or [self.sample()]
                return {"median_kib": statistics.median(taken), "peak_kib": max(taken)}
            taken.append(self.sample())
            self.sleep(SAMPLE_S)
        raise TimeoutError(f"the load did not end within {limit_s:g} s")

    def afterwards(self, times_s: Sequence[float]) -> list[dict[str, float]]:
        """A sample at each of these times from now on, which rise."""
        rows, now_s = [], 0.0
        for at_s in times_s:
            self.sleep(at_s - now_s)
            now_s = at_s
            rows.append({"after_s": at_s, "kib": self.sample()})
        return rows


def summarise(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the repeats of each load and pair of settings, in the order of the first run."""
    groups: dict[tuple[str, bool, bool], list[Mapping[str, Any]]] = {}
    for run in runs:
        key = (run["load"], run["optimize_for_performance"], run["use_pooled_buffers"])
        groups.setdefault(key, []).append(run)
    return [_row(key, group) for key, group in groups.items()]


def _row(key: tuple[str, bool, bool], group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    good = [run for run in group if "error" not in run]

    def median(take: Callable[[Mapping[str, Any]], float | None]) -> float | None:
        found = [value for run in good if (value := take(run)) is not None]
        return statistics.median(found) if found else None

    return {
        "load": key[0],
        "optimize_for_performance": key[1],
        "use_pooled_buffers": key[2],
        "repeats": len(good),
        "failed": len(group) - len(good),
        "delivered_per_s": median(lambda run: run["result"]["delivered_per_s"]),
        "cpu_us_per_delivered": median(lambda run: run["result"]["broker"]["cpu_us_per_delivered"]),
        "before_kib": median(lambda run: run["before_kib"]),
        "load_kib": median(lambda run: run["during"]["median_kib"]),
        "peak_kib": median(lambda run: run["during"]["peak_kib"]),
        "after_kib": median(lambda run: run["after"][-1]["kib"]),
        "problems": sorted({problem for run in good for problem in run["result"]["problems"]}),
    }


def _mib(kib: float | None) -> str:
    return number(None if kib is None else kib / KIB_PER_MIB, ".1f")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["load"],
        str(row["optimize_for_performance"]).lower(),
        str(row["use_pooled_buffers"]).lower(),
        number(row["delivered_per_s"]),
        number(row["cpu_us_per_delivered"], ".2f"),
        *(_mib(row[name]) for name in ("before_kib", "load_kib", "peak_kib", "after_kib")),
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table in Markdown, with what went wrong below."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(_cells(row) for row in rows)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    for row in rows:
        text += [f"PROBLEM {row['load']}: {problem}" for problem in row["problems"]]
        if row["failed"]:
            text.append(f"FAILED {row['load']}: {row['failed']} runs without a result")
    return "\n".join(text)
