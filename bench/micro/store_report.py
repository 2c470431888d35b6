#!/usr/bin/env python3
"""Measure the store beside RocksDB and SQLite, in turns, in one run.

Prints every contender, then the bars, and writes one JSON file to bench/results. Standard library only. It
needs Debian's librocksdb-dev and libsqlite3-dev; `make bench-store` says so if they are missing.

Examples:
  everything, on the disk of /var/tmp (about ten minutes)
    bench/micro/store_report.py --dir /var/tmp
  a quick look without RocksDB
    bench/micro/store_report.py --without rocksdb --repeats 1 --scale 0.1 --backlog-messages 1000000
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.machine import architecture_label, machine, tool_version
from measuring.scenarios import RESULTS
from measuring.store_bars import FULL_BACKLOG, bar_table, collect, expiry_table, judge, store_table
from measuring.store_runs import (
    PEERS,
    RunError,
    Sizes,
    build_store_bench,
    listing,
    measure,
    plan,
    rounds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measuring.store_bars import Judged
    from measuring.store_runs import Figures, Run

SCHEMA_VERSION = 1
PEER_BACKLOG = 1_000_000


def facts(started: datetime.datetime, folder: Path) -> dict[str, Any]:
    """What a reader of the numbers needs to know."""
    package = ("dpkg-query", "--show", "--showformat=${Version}\n")
    return {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "file_system": tool_version("stat", "--file-system", "--format=%T", str(folder)),
        "tools": {
            "rustc": tool_version("rustc", "--version"),
            "librocksdb-dev": tool_version(*package, "librocksdb-dev"),
            "libsqlite3-dev": tool_version(*package, "libsqlite3-dev"),
        },
    }


def measure_all(program: Path, runs: Sequence[Run], repeats: int, folder: Path) -> list[Figures]:
    """Runs everything in turns, and tells what came out while it goes on."""
    measured = []
    for number, run in enumerate(rounds(runs, repeats), start=1):
        figures = measure(program, run, folder)
        measured.append(figures)
        rate = f"{figures['messages_per_s']:,.0f} messages/s"
        sys.stderr.write(
            f"{number}/{repeats * len(runs)} {run.scenario}, {run.contender} {run.mode}: {rate}\n"
        )
    return measured


def judged_json(judged: Judged) -> dict[str, Any]:
    """A bar as the result file has it."""
    return {**asdict(judged.bar), "median": judged.median, "best": judged.best, "verdict": judged.verdict}


def default_output(started: datetime.datetime) -> Path:
    """Named by date, architecture and number of cores, as the other results are."""
    return RESULTS / f"{started:%Y-%m-%d}-{architecture_label()}-{os.cpu_count()}core-store.json"


def positive(text: str) -> int:
    """A number of messages or repeats."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def fraction(text: str) -> float:
    """A scale."""
    number = float(text)
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 100")
    return number


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=positive, default=3, help="runs of each contender (3)")
    parser.add_argument("--scale", type=fraction, default=1.0, help="messages of edgehub, 1 = the usual (1)")
    parser.add_argument("--peer-scale", type=fraction, default=0.2, help="messages of the others (0.2)")
    parser.add_argument(
        "--backlog-messages", type=positive, default=FULL_BACKLOG, help="backlog of edgehub (10 million)"
    )
    parser.add_argument(
        "--peer-backlog-messages", type=positive, default=PEER_BACKLOG, help="of the others (1 million)"
    )
    parser.add_argument("--without", action="append", default=[], choices=PEERS, help="leave a peer out")
    parser.add_argument("--only", default="", help="only scenarios whose name contains this")
    parser.add_argument(
        "--dir", type=Path, default=Path(tempfile.gettempdir()), help="folder on the disk to be measured"
    )
    parser.add_argument("--output", type=Path, help="result file; by default named by date in bench/results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parse(arguments)
    started = datetime.datetime.now(datetime.UTC)
    document = facts(started, options.dir)
    sizes = Sizes(options.scale, options.peer_scale, options.backlog_messages, options.peer_backlog_messages)
    try:
        program = build_store_bench([peer for peer in PEERS if peer not in options.without])
        runs = plan(listing(program), sizes, options.only)
        if not runs:
            raise RunError(f"no scenario has {options.only!r} in its name")
        measured = measure_all(program, runs, options.repeats, options.dir)
    except (subprocess.CalledProcessError, RunError) as error:
        sys.stderr.write(f"store_report.py: {error}\n")
        return 1
    rows = collect(measured)
    judged = judge(rows)
    tables = (store_table(rows), expiry_table(rows), bar_table(judged))
    sys.stdout.write("".join(f"{table}\n\n" for table in tables if table))
    document |= {"runs": measured, "bars": [judged_json(one) for one in judged]}
    output = options.output or default_output(started)
    output.write_text(json.dumps(document, indent=1) + "\n")
    sys.stdout.write(f"written to {output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
