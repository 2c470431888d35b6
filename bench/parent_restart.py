#!/usr/bin/env python3
"""Kill the parent hub under load, start it again, and tell how soon the backlog flows.

A whole system on loopback addresses: devices (edgehub-load over TLS, QoS 1) -> hub -> relay -> iothub. iothub
is killed, stays away for a while and is started again. What counts is the time from the moment at which the
hub has its link back (its log) to the first message of the backlog in iothub's log, and that nothing is
missing. Exit status 1: a bar is not met, or no result.

Examples:
  fifteen seconds away, five times
    bench/parent_restart.py
  longer, and as JSON
    bench/parent_restart.py --down-s 60 --repeats 1 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sqlite3
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE / "load")]

from soaking.running import generator_command, write_clients  # noqa: E402

from edgehub.demo.stack import Stack  # noqa: E402
from edgehub.demo.topology import StackOptions  # noqa: E402

BAR_MS = 1000.0
BUILD = "cargo build --release -p edgehub-bench-load"
LINK_UP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \+00:00 .*Connected to the parent hub")
LEAD_S, TAIL_S, WAIT_S, LOOK_S = 4.0, 4.0, 120.0, 0.1


def link_ups_ms(stack: Stack) -> list[float]:
    """Unix times at which the hub had its link."""
    text = (stack.folder / "logs" / "edgehub.log").read_text()
    return [datetime.fromisoformat(f"{found}+00:00").timestamp() * 1000 for found in LINK_UP.findall(text)]


def arrivals(stack: Stack, after_ms: float) -> tuple[int, float | None]:
    """Messages in iothub's log, and when the first came after a moment."""
    with sqlite3.connect(f"file:{stack.folder}/iothub/telemetry.db?mode=ro", uri=True) as log:
        count = log.execute("SELECT coalesce(sum(count), 0) FROM chunks").fetchone()[0]
        first = log.execute(
            "SELECT min(enqueued_ms) FROM chunks WHERE enqueued_ms >= ?", (after_ms,)
        ).fetchone()[0]
    return int(count), first


async def one(options: argparse.Namespace) -> dict[str, Any]:
    """One restart."""
    names = tuple(f"device{number}" for number in range(options.publishers))
    stack_options = StackOptions(devices=names, mqtt_port=0, uplink_amqp_port=0, uplink_https_port=0)
    with tempfile.TemporaryDirectory(prefix="edgehub-restart-") as folder:
        async with Stack(stack_options) as stack:
            clients, result = Path(folder, "clients.jsonl"), Path(folder, "load.json")
            write_clients(stack, names, clients)
            options.seconds = int(LEAD_S + options.down_s + TAIL_S)
            load = await asyncio.create_subprocess_exec(
                *generator_command(options, stack, clients, result), stdout=asyncio.subprocess.DEVNULL
            )
            await asyncio.sleep(LEAD_S)
            await stack.iothub.kill()
            await asyncio.sleep(options.down_s)
            back_ms = time.time() * 1000
            await stack.iothub.start()
            if await load.wait() != 0:
                raise SystemExit("the generator failed")
            return await _result(stack, back_ms, _acknowledged(result))


def _acknowledged(result: Path) -> int:
    return int(json.loads(result.read_text())["acked"])


async def _result(stack: Stack, back_ms: float, sent: int) -> dict[str, Any]:
    for _ in range(int(WAIT_S / LOOK_S)):
        found = arrivals(stack, back_ms)
        if found[0] >= sent:
            break
        await asyncio.sleep(LOOK_S)
    up_ms = next(moment for moment in link_ups_ms(stack) if moment >= back_ms)
    count, first_ms = found
    return {
        "acknowledged": sent,
        "missing": max(0, sent - count),
        "twice": max(0, count - sent),
        "link_after_start_ms": round(up_ms - back_ms),
        "backlog_after_link_ms": None if first_ms is None else round(first_ms - up_ms),
    }


def text(found: list[dict[str, Any]], *, ok: bool) -> str:
    """For people."""
    lines = [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in run.items()) for run in found]
    verdict = "ok" if ok else "not"
    return "\n".join([*lines, f"backlog within {BAR_MS:g} ms of the link, nothing missing: {verdict}", ""])


def main() -> int:
    """Runs all; 1 if a bar is not met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down-s", type=float, default=15.0, help="how long the parent hub is away (15)")
    parser.add_argument("--repeats", type=int, default=5, help="restarts (5)")
    parser.add_argument("--rate", type=int, default=500, help="messages per second in all (500)")
    parser.add_argument("--publishers", type=int, default=10, help="devices (10)")
    parser.add_argument("--generator", type=Path, default=HERE.parent / "target/release/edgehub-load")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.generator.exists():
        sys.stderr.write(f"{options.generator} is missing; build it: {BUILD}\n")
        return 1
    found = [asyncio.run(one(options)) for _ in range(options.repeats)]
    ok = all(run["missing"] == 0 and (run["backlog_after_link_ms"] or 0.0) < BAR_MS for run in found)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else text(found, ok=ok))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
