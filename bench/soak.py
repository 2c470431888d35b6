#!/usr/bin/env python3
"""Load the hub for long while its link to iothub is cut again and again: no loss, no growth of memory.

A whole system on loopback addresses: devices (edgehub-load over TLS, QoS 1, open loop) -> hub -> relay ->
iothub. The relay cuts the link every minute. Every message tells its publisher and number; what arrives is
read from iothub's telemetry log while it is written. The hub's resident memory is taken every second, and a
line is drawn through it by least squares after the warm-up. Exit status 1: a bar is not met, or no result.

Examples:
  ten minutes
    bench/soak.py
  an hour
    bench/soak.py --hours 1
  how many messages per second the way to iothub takes on this machine, and what limits it
    bench/soak.py --probe
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE / "load"), str(HERE / "micro")]

from measuring.machine import architecture_label, machine  # noqa: E402
from soaking.ledger import LedgerError  # noqa: E402
from soaking.running import Soak, SoakError, devices  # noqa: E402
from soaking.telemetry import GapError  # noqa: E402
from soaking.verdict import text  # noqa: E402

from edgehub.demo.errors import DemoError  # noqa: E402
from edgehub.demo.stack import Stack  # noqa: E402
from edgehub.demo.topology import StackOptions  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1
RESULTS = HERE / "results"
BUILD = "cargo build --release -p edgehub-bench-load"
RATE_PER_S = 5000
WARM_UP_S, WARM_UP_LONG_S, LONG_S = 120.0, 600.0, 1800.0
PROBE_S, PROBE_WARM_UP_S, PROBE_RATE_PER_S = 20.0, 5.0, 50_000


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Brings the system up and runs.

    Raises:
        SoakError, DemoError, LedgerError, GapError: there is no result.
    """
    settings = {
        "MaxUpstreamBatchSize": str(options.batch),
        "StoreSync": options.store_sync,
    }

    def step(told: str) -> None:
        sys.stderr.write(f"{told}\n")

    with tempfile.TemporaryDirectory(prefix="edgehub-soak-", dir=options.dir) as folder:
        system, work_dir = Path(folder) / "system", Path(folder)
        system.mkdir()
        wanted = StackOptions(
            folder=system,
            devices=devices(options),
            mqtt_port=0,
            # Ports of its own: another system on this machine must not take one while the link is cut.
            uplink_amqp_port=0,
            uplink_https_port=0,
            hub_settings=settings,
            step=step,
        )
        async with Stack(wanted) as stack:
            running = Soak(options, stack, work_dir)
            step(f"load for {options.seconds:g} s")
            return await running.run()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--generator", type=Path, default=HERE.parent / "target/release/edgehub-load")
    length = found.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0, help="length of the load (10)")
    length.add_argument("--hours", type=float, help="length of the load")
    length.add_argument("--probe", action="store_true", help="only measure what the way to iothub takes")
    found.add_argument("--rate", type=int, help="messages per second in all (5000; a probe 50000)")
    found.add_argument("--publishers", type=int, default=10, help="devices that send in turns (10)")
    found.add_argument("--cut-every-s", type=float, default=60.0, help="period of the cuts, 0 = none (60)")
    found.add_argument("--cut-for-s", type=float, default=5.0, help="length of a cut (5)")
    found.add_argument("--warm-up-s", type=float, help="before the slope (120; 600 from half an hour on)")
    found.add_argument("--batch", type=int, default=100, help="MaxUpstreamBatchSize of the hub (100)")
    found.add_argument("--store-sync", default="group", choices=("none", "group", "interval"))
    found.add_argument("--dir", type=Path, help="folder for all data; by default the system's")
    found.add_argument("--output", type=Path, help="result file; by default named by date in bench/results")
    return found


def checked_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends the program with a clear line when one cannot work."""
    reader = parser()
    options = reader.parse_args(arguments)
    options.seconds = 3600.0 * options.hours if options.hours is not None else 60.0 * options.minutes
    if options.probe:
        options.seconds, options.cut_every_s, options.warm_up_s = PROBE_S, 0.0, PROBE_WARM_UP_S
    if options.rate is None:
        options.rate = PROBE_RATE_PER_S if options.probe else RATE_PER_S
    if options.warm_up_s is None:
        options.warm_up_s = WARM_UP_LONG_S if options.seconds >= LONG_S else WARM_UP_S
    if options.seconds < options.warm_up_s + 5:
        reader.error(f"{options.seconds:g} s leave no time after a warm-up of {options.warm_up_s:g} s")
    if options.cut_every_s and not 0 < options.cut_for_s < options.cut_every_s:
        reader.error("--cut-for-s must be shorter than --cut-every-s")
    if options.publishers < 1 or options.rate < 1:
        reader.error("--publishers and --rate must be at least 1")
    if not os.access(options.generator, os.X_OK):
        reader.error(f"no generator at {options.generator}; build it with {BUILD}")
    return options


def probe_text(capacity: dict[str, Any]) -> str:
    """What a probe tells."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in capacity["cpu"].items())
    busiest = max(capacity["cpu"], key=lambda name: capacity["cpu"][name])
    return (
        f"accepted  {capacity['accepted_per_s']:,.0f}/s of {capacity['asked_per_s']:,}/s asked for\n"
        f"arrived   {capacity['arrived_per_s']:,.0f}/s at iothub\n"
        f"cores     {shares}; the busiest is {busiest}, of {os.cpu_count()} cores in all\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = checked_options(arguments)
    started = datetime.datetime.now(datetime.UTC)
    load_average = round(os.getloadavg()[0], 2)
    try:
        result = asyncio.run(soak(options))
    except (SoakError, DemoError, LedgerError, GapError, ValueError, sqlite3.Error) as error:
        sys.stderr.write(f"soak.py: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if options.probe:
        sys.stdout.write(probe_text(result))
        return 0
    settings = (
        "seconds",
        "warm_up_s",
        "rate",
        "publishers",
        "cut_every_s",
        "cut_for_s",
        "batch",
        "store_sync",
    )
    document = {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average_1min": load_average,
        "settings": {name: getattr(options, name) for name in settings},
        **result,
    }
    name = f"{started:%Y-%m-%d}-{architecture_label()}-{os.cpu_count()}core-soak.json"
    output: Path = options.output or RESULTS / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document) + "\n")
    sys.stdout.write(f"{text(document)}written to {output}\n")
    met = all(bar["verdict"] in ("ok", "unsure") for bar in result["bars"])
    return 0 if met and not result["problems"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
