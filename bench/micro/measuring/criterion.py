"""Runs the criterion benches and reads what they leave behind."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measuring.scenarios import PACKAGE, ROOT, target_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from measuring.scenarios import Scenario


@dataclass(frozen=True)
class Timing:
    """One scenario timed; all times are nanoseconds per step.

    :param median_ns: median of the samples, which the bar is held against.
    :param best_ns: the best sample, which other work on the machine disturbed least.
    :param bar_ns: what a step may take; None for what is only shown.
    :param instructions: instructions per step, if they were counted.
    """

    scenario: str
    median_ns: float
    best_ns: float
    bar_ns: int | None
    instructions: float | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        return None if self.bar_ns is None else self.median_ns <= self.bar_ns

    @property
    def best_ok(self) -> bool | None:
        """Whether the best sample meets the bar; None without a bar."""
        return None if self.bar_ns is None else self.best_ns <= self.bar_ns


def run_benches() -> None:
    """Times all scenarios; takes some minutes. What criterion prints of them is left out."""
    command = ["cargo", "bench", "--locked", "--quiet", "-p", PACKAGE, "--bench", "router"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def read_timing(folder: Path, scenario: Scenario, instructions: float | None = None) -> Timing:
    """Reads one scenario's `estimates.json` and `sample.json` below criterion's `folder`."""
    newest = folder / scenario.name.replace("/", "_") / "new"
    estimates = json.loads((newest / "estimates.json").read_text())
    sample = json.loads((newest / "sample.json").read_text())
    best = min(time / steps for time, steps in zip(sample["times"], sample["iters"], strict=True))
    median = estimates["median"]["point_estimate"]
    return Timing(scenario.name, round(median, 1), round(best, 1), scenario.bar_ns, instructions)


def read_timings(wanted: Sequence[Scenario], counts: dict[str, float]) -> list[Timing]:
    """Reads all scenarios, in their order."""
    folder = target_dir() / "criterion"
    return [read_timing(folder, scenario, counts.get(scenario.name)) for scenario in wanted]
