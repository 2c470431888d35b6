#!/usr/bin/env python3
"""Measure the router: time and instructions of the Rust side, and the Python side against rule engines.

Prints every scenario beside its bar and writes one JSON file to bench/results. Run it with the project's
Python, on a machine that does nothing else; `make bench-router` does.

Examples:
  everything
    bench/micro/router_report.py
  the Rust side alone, without counting instructions
    bench/micro/router_report.py --skip callgrind --skip python
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import callgrind
from measuring.criterion import read_timings, run_benches
from measuring.machine import architecture_label, machine, tool_version
from measuring.python_side import RATIO_BAR, ratios, run_python
from measuring.scenarios import RESULTS, build_program, scenarios
from measuring.tables import rate_table, ratio_table, timing_table

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1
PARTS = ("rust", "callgrind", "python")
PACKAGES = ("rule-engine", "cel-python", "orjson", "pytest-benchmark")


def measure_rust(with_counts: bool) -> dict[str, Any]:
    """Times all scenarios, and counts their instructions if wanted."""
    program = build_program()
    counts = callgrind.count_all(program) if with_counts else {}
    run_benches()
    timings = read_timings(scenarios(program), counts)
    sys.stdout.write(timing_table(timings) + "\n\n")
    return {"rust": [{**asdict(timing), "ok": timing.ok, "best_ok": timing.best_ok} for timing in timings]}


def measure_python() -> dict[str, Any]:
    """Times the Python side and its peers."""
    found = run_python()
    compared = ratios(found)
    sys.stdout.write(f"{rate_table(found)}\n\n{ratio_table(compared)}\n\n")
    return {
        "python": [asdict(rate) for rate in found],
        "python_ratio_bar": RATIO_BAR,
        "python_ratios": [{**asdict(ratio), "ok": ratio.ok} for ratio in compared],
    }


def package_versions() -> dict[str, str]:
    """Versions of what the Python side is compared with."""
    installed = {found.name: found.version for found in importlib.metadata.distributions()}
    return {name: installed.get(name, "absent") for name in PACKAGES}


def facts(started: datetime.datetime) -> dict[str, Any]:
    """What a reader of the numbers needs to know."""
    return {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "tools": {
            "rustc": tool_version("rustc", "--version"),
            "valgrind": tool_version("valgrind", "--version"),
            "python": platform.python_version(),
            **package_versions(),
        },
    }


def default_output(started: datetime.datetime) -> Path:
    """Named by date, architecture and number of cores, as the other results are."""
    return RESULTS / f"{started:%Y-%m-%d}-{architecture_label()}-{os.cpu_count()}core-router.json"


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--skip", action="append", default=[], choices=PARTS, help="leave a part out")
    parser.add_argument("--output", type=Path, help="result file; by default named by date in bench/results")
    options = parser.parse_args(arguments)
    started = datetime.datetime.now(datetime.UTC)
    document = facts(started)
    try:
        if "rust" not in options.skip:
            document |= measure_rust("callgrind" not in options.skip)
        if "python" not in options.skip:
            document |= measure_python()
    except (subprocess.CalledProcessError, callgrind.CountError) as error:
        sys.stderr.write(f"router_report.py: {error}\n")
        return 1
    output = options.output or default_output(started)
    output.write_text(json.dumps(document, indent=1) + "\n")
    sys.stdout.write(f"written to {output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
