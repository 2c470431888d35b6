#!/usr/bin/env python3
"""Count the instructions that routing one message takes, with valgrind's callgrind.

Counts do not depend on how busy the machine is, so a change of a few per cent shows. Each scenario runs N and
then 2 N messages; the difference, divided by N, is free of what happens once. Standard library only.

Examples:
  count and record in bench/results
    bench/micro/callgrind.py
  compare with the record; exit status 1 if anything got more than 3 % dearer
    bench/micro/callgrind.py --check
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.machine import architecture_label, machine, tool_version
from measuring.scenarios import RESULTS, build_program, scenarios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1
STEPS = 800  # a multiple of the messages that a scenario goes round in
TOLERANCE = 0.03
RUN_LIMIT_S = 300.0
COUNTED_FUNCTION = "*Prepared*run*"
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")

Counts = dict[str, float]
"""Scenario to instructions per message."""


class CountError(Exception):
    """valgrind is missing, failed, or counted nothing."""


def count(program: Path, scenario: str, steps: int) -> int:
    """Instructions of `steps` steps and what leads up to the first."""
    with tempfile.TemporaryDirectory(prefix="edgehub-callgrind-") as folder:
        valgrind = [
            "valgrind",
            "--tool=callgrind",
            f"--toggle-collect={COUNTED_FUNCTION}",
            f"--callgrind-out-file={folder}/out",
        ]
        command = [*valgrind, str(program), scenario, str(steps)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
        except FileNotFoundError:
            raise CountError("valgrind is missing; run: apt-get install valgrind") from None
    found = COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise CountError(f"{scenario}: valgrind failed: {done.stderr.strip()[-500:]}")
    if int(found[1]) == 0:
        raise CountError(f"{scenario}: nothing counted; is {COUNTED_FUNCTION} still the name of the loop?")
    return int(found[1])


def per_step(once: int, twice: int, steps: int) -> float:
    """Instructions of one step from the counts of `steps` and 2 x `steps` steps."""
    return round((twice - once) / steps, 1)


def count_all(program: Path, only: str = "") -> Counts:
    """Counts every scenario whose name contains `only`."""
    counts: Counts = {}
    for scenario in scenarios(program):
        if not scenario.counted or only not in scenario.name:
            continue
        once, twice = (count(program, scenario.name, steps) for steps in (STEPS, 2 * STEPS))
        counts[scenario.name] = per_step(once, twice, STEPS)
        sys.stderr.write(f"{scenario.name}: {counts[scenario.name]:,.1f} instructions per message\n")
    return counts


def record_path() -> Path:
    """The record for this architecture."""
    return RESULTS / f"router-callgrind-{architecture_label()}.json"


def record(counts: Counts) -> dict[str, object]:
    """The record as it is written."""
    return {
        "schema_version": SCHEMA_VERSION,
        "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "tools": {
            "rustc": tool_version("rustc", "--version"),
            "valgrind": tool_version("valgrind", "--version"),
        },
        "steps": STEPS,
        "instructions_per_message": counts,
    }


def changes(recorded: Mapping[str, float], counts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Scenarios whose count moved by more than the tolerance, with the change as a fraction."""
    moved = [(name, counts[name] / before - 1) for name, before in recorded.items() if name in counts]
    return [(name, change) for name, change in moved if abs(change) > TOLERANCE]


def check(path: Path, counts: Counts) -> int:
    """Tells what changed against the record; 1 if anything got dearer."""
    recorded: Counts = json.loads(path.read_text())["instructions_per_message"]
    moved = changes(recorded, counts)
    for name, change in moved:
        sys.stdout.write(f"{name}: {recorded[name]:,.1f} -> {counts[name]:,.1f} ({change:+.1%})\n")
    for name in sorted(counts.keys() - recorded.keys()):
        sys.stdout.write(f"{name}: {counts[name]:,.1f}, not in the record\n")
    if not moved:
        sys.stdout.write(f"no count moved by more than {TOLERANCE:.0%}\n")
    return 1 if any(change > 0 for _, change in moved) else 0


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with the record, write nothing")
    parser.add_argument("--only", default="", help="with --check: only scenarios whose name contains this")
    parser.add_argument("--record", type=Path, default=record_path(), help="the record's file")
    options = parser.parse_args(arguments)
    if options.only and not options.check:
        parser.error("--only goes with --check: a record holds all scenarios")
    if options.check and not options.record.exists():
        parser.error(f"no record {options.record}; run without --check first")
    try:
        counts = count_all(build_program(), options.only)
    except CountError as error:
        sys.stderr.write(f"callgrind.py: {error}\n")
        return 1
    if options.check:
        return check(options.record, counts)
    options.record.write_text(json.dumps(record(counts), indent=1) + "\n")
    sys.stdout.write(f"written to {options.record}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
