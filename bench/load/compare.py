#!/usr/bin/env python3
"""Compare our hub with Debian's mosquitto on this machine, both loaded by the same generator in one run.

For each scenario and repeat each broker is started afresh on one core, loaded from another core, measured
and ended; the order changes from repeat to repeat. What is compared are medians. Raw results go to a JSON
file. Standard library only.

Examples:
  mosquitto and this project's hub, quickly
    bench/load/compare.py --repeats 1 --duration-s 2
  mosquitto alone
    bench/load/compare.py --no-hub
  against a hub that is started in another way
    bench/load/compare.py --hub-command edgehub --hub-clients clients.jsonl --hub-tls-port 8883 \\
      --hub-ca ca.pem --hub-env StorageFolder={work_dir}
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison.hub import HubRecipe, split_command, start_hub
from comparison.mosquitto import start_mosquitto, version
from comparison.own_hub import own_recipe, prepare_own
from comparison.processes import StartError, pinned
from comparison.summary import compare, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from comparison.processes import RunningBroker

PEER = "mosquitto"
SCHEMA_VERSION = 1
HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
STORE_SYNC = ("none", "group")
GENERATOR_GRACE_S = 180.0
READY_URL = "http://127.0.0.1:9600/healthz"
BUILD = "cargo build --release -p edgehub-bench-load"

Start = Callable[[Path], "AbstractContextManager[RunningBroker]"]
"""Starts a broker with its files in the given empty folder."""


@dataclass(frozen=True)
class Scenario:
    """One shape of load. All are QoS 1 with one subscriber."""

    transport: str
    publishers: int
    window: int

    @property
    def name(self) -> str:
        """Short name, as in the table."""
        return f"{self.transport} {self.publishers}->1 window {self.window}"


SCENARIOS = [
    Scenario(transport, publishers, window)
    for transport in ("plain", "tls")
    for publishers in (1, 100)
    for window in (1, 20)
]
SUBSCRIBERS = 1


def generator_command(
    options: argparse.Namespace, scenario: Scenario, broker: RunningBroker, result: Path
) -> list[str]:
    """Command line of the generator for one run."""
    endpoint = broker.endpoints[scenario.transport]
    arguments = {
        "host": endpoint.host,
        "port": endpoint.port,
        "clients": broker.clients_file,
        "publishers": scenario.publishers,
        "subscribers": SUBSCRIBERS,
        "qos": 1,
        "window": scenario.window,
        "payload-bytes": options.payload_bytes,
        "duration-s": options.duration_s,
        "warm-up-s": options.warm_up_s,
        "broker-pid": broker.pid,
        "json": result,
        "label": scenario.name,
    }
    command = [str(options.generator), "run"]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    if endpoint.ca_file is not None:
        command += ["--tls", "--ca-file", str(endpoint.ca_file)]
    return pinned(options.generator_core, command)


def run_once(options: argparse.Namespace, scenario: Scenario, start: Start) -> dict[str, Any] | None:
    """One broker, one scenario, one time: the generator's result, or `error`.

    None: the broker has no such listener.
    """
    with tempfile.TemporaryDirectory(prefix="edgehub-compare-") as folder:
        work_dir = Path(folder)
        result = work_dir / "result.json"
        try:
            with start(work_dir) as broker:
                if scenario.transport not in broker.endpoints:
                    return None
                command = generator_command(options, scenario, broker, result)
                limit_s = options.duration_s + options.warm_up_s + GENERATOR_GRACE_S
                done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        except (StartError, subprocess.TimeoutExpired) as problem:
            return {"error": str(problem)}
        if not result.exists():
            return {"error": done.stderr.strip() or f"the generator ended with status {done.returncode}"}
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def rotated(names: Sequence[str], repeat: int) -> list[str]:
    """Another order for each repeat, so that a drift of the machine favours nobody."""
    at = repeat % len(names)
    return [*names[at:], *names[:at]]


def run_all(
    options: argparse.Namespace, scenarios: Sequence[Scenario], brokers: Mapping[str, Start]
) -> Iterator[dict[str, Any]]:
    """All runs; each result as soon as it is there."""
    names = list(brokers)
    for scenario in scenarios:
        for repeat in range(options.repeats):
            for name in rotated(names, repeat):
                found = run_once(options, scenario, brokers[name])
                if found is None:
                    continue
                rate = found.get("delivered_per_s")
                told = found["error"] if rate is None else f"{rate:,.0f}/s"
                sys.stderr.write(f"{scenario.name}, {name}, repeat {repeat + 1}: {told}\n")
                yield {"scenario_name": scenario.name, "broker_name": name, "repeat": repeat, **found}


def hub_recipe(options: argparse.Namespace) -> HubRecipe | None:
    """The recipe that the options give, else this project's own; None without a hub."""
    if options.no_hub:
        return None
    if options.hub_command is None:
        return own_recipe(sys.executable)
    return HubRecipe(
        command=split_command(options.hub_command),
        ready_url=options.hub_ready_url,
        clients_file=options.hub_clients,
        environment=dict(entry.split("=", 1) for entry in options.hub_env),
        plain_port=options.hub_plain_port,
        tls_port=options.hub_tls_port,
        ca_file=options.hub_ca,
    )


def broker_starts(options: argparse.Namespace, recipe: HubRecipe | None) -> dict[str, Start]:
    """What is compared, by name: the peer, and our hub once for each StoreSync."""
    publishers = max(scenario.publishers for scenario in SCENARIOS)

    def peer(work_dir: Path) -> AbstractContextManager[RunningBroker]:
        return start_mosquitto(
            work_dir,
            binary=options.mosquitto,
            core=options.broker_core,
            publishers=publishers,
            subscribers=SUBSCRIBERS,
        )

    starts: dict[str, Start] = {PEER: peer}
    if recipe is not None:
        for sync in STORE_SYNC:
            starts[f"edgehub {sync}"] = hub_start(options, recipe.with_environment({"StoreSync": sync}))
    return starts


def hub_start(options: argparse.Namespace, recipe: HubRecipe) -> Start:
    """Starts the hub of this recipe."""
    publishers = max(scenario.publishers for scenario in SCENARIOS)

    def prepare(recipe: HubRecipe, work_dir: Path) -> HubRecipe:
        return recipe if options.hub_command else prepare_own(recipe, work_dir, publishers)

    def start(work_dir: Path) -> AbstractContextManager[RunningBroker]:
        return start_hub(recipe, work_dir, core=options.broker_core, prepare=prepare)

    return start


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--generator", type=Path, default=HERE.parents[1] / "target/release/edgehub-load")
    found.add_argument("--mosquitto", default="/usr/sbin/mosquitto", help="binary of the peer")
    found.add_argument("--broker-core", type=int, default=0, help="core that brokers are pinned to")
    found.add_argument("--generator-core", type=int, default=1, help="core that the generator is pinned to")
    found.add_argument("--repeats", type=int, default=3)
    found.add_argument("--duration-s", type=float, default=5.0)
    found.add_argument("--warm-up-s", type=float, default=1.0)
    found.add_argument("--payload-bytes", type=int, default=256)
    found.add_argument("--only", default="", help="only scenarios whose name contains this")
    found.add_argument("--output", type=Path, help="result file; by default named by time in bench/results")
    found.add_argument("--no-hub", action="store_true", help="measure the peer alone")
    found.add_argument("--hub-command", help="start our hub with this command, in the foreground")
    found.add_argument("--hub-env", action="append", default=[], metavar="NAME=VALUE", type=assignment)
    found.add_argument("--hub-ready-url", default=READY_URL, help="answers 200 when ready")
    found.add_argument("--hub-clients", help="clients with credentials, JSON lines for edgehub-load")
    found.add_argument("--hub-plain-port", type=int)
    found.add_argument("--hub-tls-port", type=int)
    found.add_argument("--hub-ca", help="certificates that the hub's descends from")
    return found


def assignment(text: str) -> str:
    """Checks NAME=VALUE."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return text


def checked_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends the program with a clear line when they contradict each other."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.repeats < 1:
        reader.error("--repeats must be at least 1")
    if options.hub_command is not None and options.hub_clients is None:
        reader.error("--hub-command needs --hub-clients")
    recipe = hub_recipe(options)
    if recipe is not None and options.hub_command is not None:
        try:
            recipe.endpoints()
        except ValueError as problem:
            reader.error(f"{problem}: --hub-plain-port, --hub-tls-port with --hub-ca")
    if not os.access(options.generator, os.X_OK):
        reader.error(f"no generator at {options.generator}; build it with {BUILD}")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run everything, write the result, print the table. 1 when any run failed or had problems."""
    options = checked_options(arguments)
    scenarios = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    brokers = broker_starts(options, hub_recipe(options))
    started = datetime.datetime.now(datetime.UTC)
    runs: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):
        runs.extend(run_all(options, scenarios, brokers))
    rows = compare(runs, [scenario.name for scenario in scenarios], list(brokers), PEER)
    output: Path = options.output or RESULTS / f"compare-{started:%Y%m%dT%H%M%SZ}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "peer": version(options.mosquitto),
        "repeats": options.repeats,
        "cores": {"broker": options.broker_core, "generator": options.generator_core},
        "summary": rows,
        "runs": runs,
    }
    output.write_text(json.dumps(document, indent=1) + "\n")
    sys.stdout.write(f"{table(rows)}\nwritten to {output}\n")
    wrong = not runs or any("error" in run or run["problems"] for run in runs)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
