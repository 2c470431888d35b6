#!/usr/bin/env python3
"""What OptimizeForPerformance and mqttSettings__UsePooledBuffers make of the hub: memory and CPU time.

For each load, pair of settings and repeat the hub is started afresh on one core. Its resident memory is taken
when it idles, every 0.1 s under load, and again for some time after the load, when its clients are gone. CPU
time per message is the generator's. Prints medians and writes one JSON file. Standard library only.

Examples:
  everything, three times (about fifteen minutes)
    bench/load/memory_settings.py --repeats 3
  a quick look
    bench/load/memory_settings.py --duration-s 2 --idle-s 15 --only 256
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison.hub import start_hub
from comparison.own_hub import own_recipe, prepare_own
from comparison.processes import StartError, pinned
from comparison.resident import Watch, resident_kib, summarise, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from comparison.processes import RunningBroker

SCHEMA_VERSION = 1
HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
# The facts about the machine are those of the other benchmarks.
sys.path.insert(0, str(HERE.parent / "micro"))
from measuring.machine import architecture_label, machine, tool_version  # noqa: E402

SETTLE_S = 3.0
AFTER_S = (2.0, 5.0, 10.0, 20.0)
"""When memory is looked at after the load, besides at the end of the wait."""
GENERATOR_GRACE_S = 180.0
BUILD = "cargo build --release -p edgehub-bench-load"


@dataclass(frozen=True)
class Load:
    """One shape of load: QoS 1, plain TCP, one subscriber."""

    payload_bytes: int
    publishers: int
    window: int

    @property
    def name(self) -> str:
        """Short name, as in the table."""
        return f"{self.publishers}->1 window {self.window}, {self.payload_bytes} B"


LOADS = (Load(256, 100, 20), Load(64 * 1024, 100, 2))
"""Many small messages; messages that take several reads, of which parts wait in buffers."""


@dataclass(frozen=True)
class Settings:
    """The two settings, both given."""

    optimize_for_performance: bool
    use_pooled_buffers: bool

    @property
    def environment(self) -> dict[str, str]:
        """As the hub reads them."""
        return {
            "OptimizeForPerformance": str(self.optimize_for_performance).lower(),
            "mqttSettings__UsePooledBuffers": str(self.use_pooled_buffers).lower(),
        }


COMBINATIONS = [Settings(fast, pooled) for fast, pooled in itertools.product((True, False), repeat=2)]


def generator_command(
    options: argparse.Namespace, load: Load, broker: RunningBroker, result: Path
) -> list[str]:
    """Command line of the generator."""
    endpoint = broker.endpoints["plain"]
    arguments = {
        "host": endpoint.host,
        "port": endpoint.port,
        "clients": broker.clients_file,
        "publishers": load.publishers,
        "subscribers": 1,
        "qos": 1,
        "window": load.window,
        "payload-bytes": load.payload_bytes,
        "duration-s": options.duration_s,
        "broker-pid": broker.pid,
        "json": result,
        "label": load.name,
    }
    words = itertools.chain.from_iterable((f"--{name}", str(value)) for name, value in arguments.items())
    return pinned(options.generator_core, [str(options.generator), "run", *words])


def measure(options: argparse.Namespace, load: Load, broker: RunningBroker, work_dir: Path) -> dict[str, Any]:
    """Memory before, during and after the load, and the generator's result."""
    time.sleep(SETTLE_S)
    before = resident_kib(broker.pid)
    watch, result = Watch(broker.pid), work_dir / "result.json"
    generator = subprocess.Popen(
        generator_command(options, load, broker, result), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        during = watch.while_running(
            lambda: generator.poll() is not None, options.duration_s + GENERATOR_GRACE_S
        )
    finally:
        generator.kill()
        _, told = generator.communicate()
    if not result.exists():
        return {"error": told.decode().strip() or f"the generator ended with {generator.returncode}"}
    times_s = [at_s for at_s in AFTER_S if at_s < options.idle_s] + [options.idle_s]
    return {
        "before_kib": before,
        "during": during,
        "after": watch.afterwards(times_s),
        "result": json.loads(result.read_text()),
    }


def run_once(options: argparse.Namespace, load: Load, settings: Settings) -> dict[str, Any]:
    """One hub, one load: the figures, or `error`."""
    recipe = own_recipe(sys.executable)
    recipe = recipe.with_environment({"StoreSync": options.store_sync, **settings.environment})
    with tempfile.TemporaryDirectory(prefix="edgehub-memory-", dir=options.dir) as folder:
        work_dir = Path(folder)
        try:
            with start_hub(
                recipe,
                work_dir,
                core=options.broker_core,
                prepare=lambda recipe, work_dir: prepare_own(recipe, work_dir, load.publishers),
            ) as broker:
                return measure(options, load, broker, work_dir)
        except (StartError, TimeoutError) as problem:
            return {"error": str(problem)}


def run_all(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All runs in turns, each result as soon as it is there."""
    loads = [load for load in LOADS if options.only in load.name]
    for repeat, load in itertools.product(range(options.repeats), loads):
        at = repeat % len(COMBINATIONS)
        for settings in COMBINATIONS[at:] + COMBINATIONS[:at]:
            found = run_once(options, load, settings)
            run = {"load": load.name, **asdict(settings), "repeat": repeat, **found}
            sys.stderr.write(table(summarise([run])).splitlines()[2] + "\n")
            yield run


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--generator", type=Path, default=HERE.parents[1] / "target/release/edgehub-load")
    found.add_argument("--broker-core", type=int, default=0, help="core that the hub is pinned to")
    found.add_argument("--generator-core", type=int, default=1, help="core that the generator is pinned to")
    found.add_argument("--repeats", type=int, default=1)
    found.add_argument("--duration-s", type=float, default=5.0, help="length of the load")
    found.add_argument("--idle-s", type=float, default=40.0, help="wait after the load (40)")
    found.add_argument("--store-sync", default="none", choices=("none", "group", "interval"))
    found.add_argument("--dir", type=Path, help="folder for the stores; by default the system's")
    found.add_argument("--only", default="", help="only loads whose name contains this")
    found.add_argument("--output", type=Path, help="result file; by default named by time in bench/results")
    return found


def checked_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends the program with a clear line when one cannot work."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.repeats < 1:
        reader.error("--repeats must be at least 1")
    if not any(options.only in load.name for load in LOADS):
        reader.error(f"no load has {options.only!r} in its name")
    if not os.access(options.generator, os.X_OK):
        reader.error(f"no generator at {options.generator}; build it with {BUILD}")
    return options


def main(arguments: Sequence[str]) -> int:
    """Runs everything, writes the result, prints the table. 1 when a run failed or had problems."""
    options = checked_options(arguments)
    started = datetime.datetime.now(datetime.UTC)
    facts = {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "c_library": tool_version("ldd", "--version"),
        "store_sync": options.store_sync,
        "repeats": options.repeats,
        "duration_s": options.duration_s,
        "idle_s": options.idle_s,
    }
    runs: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):
        runs.extend(run_all(options))
    rows = summarise(runs)
    name = f"memory-{architecture_label()}-{started:%Y%m%dT%H%M%SZ}.json"
    output: Path = options.output or RESULTS / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**facts, "summary": rows, "runs": runs}, indent=1) + "\n")
    sys.stdout.write(f"{table(rows)}\nwritten to {output}\n")
    return 1 if any(row["failed"] or row["problems"] for row in rows) or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
