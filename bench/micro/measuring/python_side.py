"""Runs the comparison with Python's rule engines and computes the ratios."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.scenarios import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = ROOT / "bench" / "micro" / "router_python"
OURS = ("match_many", "match_encoded")
RATIO_BAR = 20.0


@dataclass(frozen=True)
class Rate:
    """One contender on one rule set; times are nanoseconds per message."""

    family: str
    rules: int
    contender: str
    median_ns: float
    best_ns: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast `ours` is as `other`, by the best rounds: what disturbs them least."""

    family: str
    rules: int
    other: str
    ours: str
    ratio: float

    @property
    def ok(self) -> bool:
        """Whether the bar is met."""
        return self.ratio >= RATIO_BAR


def run_python() -> list[Rate]:
    """Checks that all contenders give the same answers, then times them."""
    with tempfile.TemporaryDirectory(prefix="edgehub-bench-") as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=0", str(FOLDER)]
        # Time of the processor, which a busy machine does not lengthen much.
        command += ["--benchmark-timer", "time.process_time"]
        command += ["--benchmark-json", str(output), "--benchmark-quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        return rates(json.loads(output.read_text()))


def rates(document: Mapping[str, Any]) -> list[Rate]:
    """Reads pytest-benchmark's document; by rule set, the slowest first."""
    found = [rate(entry) for entry in document["benchmarks"]]
    return sorted(found, key=lambda r: (r.family, r.rules, -r.best_ns))


def rate(entry: Mapping[str, Any]) -> Rate:
    """Reads one bench: seconds per batch become nanoseconds per message."""
    about, stats = entry["extra_info"], entry["stats"]

    def per_message(seconds: float) -> float:
        return round(seconds / float(about["messages"]) * 1e9, 1)

    return Rate(
        about["family"],
        about["rules"],
        about["contender"],
        per_message(stats["median"]),
        per_message(stats["min"]),
    )


def ratios(found: Sequence[Rate]) -> list[Ratio]:
    """Each of ours against each of the others, on the same rules."""
    return [
        Ratio(
            ours.family,
            ours.rules,
            other.contender,
            ours.contender,
            round(other.best_ns / ours.best_ns, 1),
        )
        for ours in found
        if ours.contender in OURS
        for other in found
        if other.contender not in OURS and (other.family, other.rules) == (ours.family, ours.rules)
    ]
