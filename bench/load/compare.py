#!/usr/bin/env python3
"""Compare our hub with other brokers on this machine, all loaded by the same generator in one run.

For each scenario and repeat each broker is started afresh on one core, loaded from another core, measured
and ended; the order changes from repeat to repeat. What is compared are medians, and they are held against
the bars of comparison/scenarios.py. Raw results go to a JSON file. mosquitto is the peer that bars refer to;
the others run in the rows of QoS 1 with a window of 20, and one that is not installed is left out.

Examples:
  everything, three times (about an hour)
    bench/load/compare.py
  a look at whether all of it works, not at the figures
    bench/load/compare.py --quick
  the rows whose names have one of these in them
    bench/load/compare.py --only 'idle' --only 'tls 1->100'
  our hub and mosquitto alone; mosquitto alone
    bench/load/compare.py --peer mosquitto
    bench/load/compare.py --peer mosquitto --no-hub
  against a hub that is started in another way
    bench/load/compare.py --hub-command edgehub --hub-clients clients.jsonl --hub-tls-port 8883 \\
      --hub-ca ca.pem --hub-env StorageFolder={work_dir}
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison.bars import bar_table, judge, worst
from comparison.busy import kept_busy
from comparison.hub import start_hub
from comparison.options import checked_options, chosen_scenarios, hub_recipe
from comparison.own_hub import prepare_own
from comparison.processes import Needs, RunningBroker, StartError, pinned
from comparison.scenarios import CONNECTS, HOLD, LOAD
from comparison.summary import compare, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from comparison.hub import HubRecipe
    from comparison.peers import Chosen, Peer
    from comparison.scenarios import Scenario

PEER = "mosquitto"
SCHEMA_VERSION = 2
HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
# The facts about the machine are those of the other benchmarks.
sys.path.insert(0, str(HERE.parent / "micro"))
from measuring.machine import architecture_label, machine  # noqa: E402

STORE_SYNC = ("none", "group")
OPEN_FILES = 20_000
"""For brokers with nine thousand connections; they get this limit from us."""
GENERATOR_GRACE_S = 240.0
DRAIN_MAX_S = 30.0
"""After a run: a broker that acknowledges much faster than it delivers is not waited for any longer."""

Start = Callable[[Path, Needs], "AbstractContextManager[RunningBroker]"]
"""Starts a broker with its files in the given empty folder."""


@dataclass(frozen=True)
class Contender:
    """A broker of the comparison, and what it takes part in."""

    name: str
    start: Start
    takes_part: Callable[[Scenario], bool] = lambda _: True


def arguments_of(options: argparse.Namespace, scenario: Scenario, broker: RunningBroker) -> dict[str, Any]:
    """What the generator is told beside where to connect."""
    common = {"clients": broker.clients_file, "broker-pid": broker.pid, "label": scenario.name}
    if scenario.kind == HOLD:
        return {
            **common,
            "connections": scenario.publishers,
            "duration-s": options.hold_s,
            "ready-timeout-s": GENERATOR_GRACE_S / 2,
            "keep-alive-s": 600,
        }
    timed = {**common, "duration-s": options.duration_s, "warm-up-s": options.warm_up_s}
    if scenario.kind == CONNECTS:
        return {**timed, "connections": scenario.publishers}
    more = {} if scenario.rate_per_s is None else {"rate": scenario.rate_per_s}
    return {
        **timed,
        **more,
        "publishers": scenario.publishers,
        "subscribers": scenario.subscribers,
        "qos": scenario.qos,
        "window": scenario.window,
        "drain-max-s": DRAIN_MAX_S,
        "payload-bytes": options.payload_bytes,
    }


def generator_command(
    options: argparse.Namespace, scenario: Scenario, broker: RunningBroker, result: Path
) -> list[str]:
    """Command line of the generator for one run."""
    endpoint = broker.endpoints[scenario.transport]
    arguments = {"host": endpoint.host, "port": endpoint.port, "json": result}
    command = [str(options.generator), scenario.kind]
    for name, value in {**arguments, **arguments_of(options, scenario, broker)}.items():
        command += [f"--{name}", str(value)]
    if endpoint.ca_file is not None:
        # Where handshakes are counted, the generator must not be slower than the broker.
        trust = ["--skip-verify"] if scenario.kind == CONNECTS else ["--ca-file", str(endpoint.ca_file)]
        command += ["--tls", *trust]
    return pinned(options.generator_core, command)


def measure(
    options: argparse.Namespace, scenario: Scenario, broker: RunningBroker, result: Path
) -> dict[str, Any]:
    """The generator's result; `error` without one.

    Raises:
        subprocess.TimeoutExpired: the generator did not end.
    """
    command = generator_command(options, scenario, broker, result)
    limit_s = options.duration_s + options.warm_up_s + options.hold_s + GENERATOR_GRACE_S
    control: dict[str, Any] = {}
    with contextlib.ExitStack() as beside:
        if scenario.busy and broker.control is not None:
            python = pinned(options.generator_core, [sys.executable])
            control = beside.enter_context(kept_busy(python, broker.control))
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if not result.exists():
        return {"error": done.stderr.strip() or f"the generator ended with status {done.returncode}"}
    if "error" in control:
        return {"error": f"the control plane was not kept busy: {control['error']}"}
    found: dict[str, Any] = json.loads(result.read_text())
    return {**found, "control_plane": control} if control else found


def run_once(options: argparse.Namespace, scenario: Scenario, start: Start) -> dict[str, Any] | None:
    """One broker, one scenario, one time: the generator's result, or `error`.

    None: the broker has no such listener.
    """
    needs = Needs(scenario.transport, scenario.publishers, scenario.subscribers, options.broker_core)
    with tempfile.TemporaryDirectory(prefix="edgehub-compare-", dir=options.dir) as folder:
        work_dir = Path(folder)
        try:
            with start(work_dir, needs) as broker:
                if scenario.transport not in broker.endpoints:
                    return None
                return measure(options, scenario, broker, work_dir / "result.json")
        except (StartError, subprocess.TimeoutExpired) as problem:
            return {"error": str(problem)}


def rotated(names: Sequence[Any], repeat: int) -> list[Any]:
    """Another order for each repeat, so that a drift of the machine favours nobody."""
    at = repeat % len(names)
    return [*names[at:], *names[:at]]


def told(found: dict[str, Any]) -> str:
    """The one number of a result that says most."""
    if "error" in found:
        return str(found["error"])
    for key, unit in (
        ("delivered_per_s", "/s"),
        ("connected_per_s", " connections/s"),
        ("bytes_per_connection", " bytes per connection"),
    ):
        if key in found:
            return f"{found[key]:,.0f}{unit}"
    return "a result without numbers"


def run_all(
    options: argparse.Namespace, scenarios: Sequence[Scenario], contenders: Sequence[Contender]
) -> Iterator[dict[str, Any]]:
    """All runs; each result as soon as it is there."""
    for scenario in scenarios:
        taking_part = [one for one in contenders if one.takes_part(scenario)]
        for repeat in range(options.repeats if taking_part else 0):
            for contender in rotated(taking_part, repeat):
                found = run_once(options, scenario, contender.start)
                if found is None:
                    continue
                sys.stderr.write(f"{scenario.name}, {contender.name}, repeat {repeat + 1}: {told(found)}\n")
                name = contender.name
                yield {"scenario_name": scenario.name, "broker_name": name, "repeat": repeat, **found}


def peer_contender(peer: Peer) -> Contender:
    """A peer; all but the first take part where messages are acknowledged and windows full."""
    if peer.name == PEER:
        return Contender(peer.name, peer.start)
    return Contender(peer.name, peer.start, lambda scenario: scenario.of_all_peers)


def hub_contenders(options: argparse.Namespace, recipe: HubRecipe) -> list[Contender]:
    """Our hub once for each StoreSync; what stores nothing runs with one of them."""
    return [
        Contender(
            f"edgehub {sync}",
            hub_start(options, recipe.with_environment({"StoreSync": sync})),
            lambda scenario, sync=sync: scenario.kind == LOAD or sync == STORE_SYNC[0],  # type: ignore[misc]
        )
        for sync in STORE_SYNC
    ]


def hub_start(options: argparse.Namespace, recipe: HubRecipe) -> Start:
    """Starts the hub of this recipe."""

    def start(work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        def prepare(recipe: HubRecipe, work_dir: Path) -> HubRecipe:
            if options.hub_command:
                return recipe
            return prepare_own(recipe, work_dir, needs.publishers, needs.subscribers)

        return start_hub(recipe, work_dir, core=needs.core, prepare=prepare)

    return start


def summary_of(
    runs: list[dict[str, Any]], scenarios: Sequence[Scenario], contenders: Sequence[Contender]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows with verdicts, and the bars one by one."""
    names = [contender.name for contender in contenders]
    ours = [name for name in names if name.startswith("edgehub ")]
    judged = [one for scenario in scenarios for one in judge(runs, scenario.name, scenario.bars, ours, PEER)]
    kinds = {scenario.name: scenario.kind for scenario in scenarios}
    rows = compare(runs, list(kinds), names, PEER)
    for row in rows:
        key = (row["scenario"], row["broker"])
        row["kind"] = kinds[row["scenario"]]
        row["verdict"] = worst(one.verdict for one in judged if (one.scenario, one.broker) == key)
    return rows, [one.to_json() for one in judged]


def facts(options: argparse.Namespace, started: datetime.datetime) -> dict[str, Any]:
    """What a reader of the numbers needs to know."""
    chosen: Chosen = options.chosen
    return {
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "peers": {peer.name: peer.version() for peer in chosen.peers},
        "peers_skipped": chosen.skipped,
        "repeats": options.repeats,
        "duration_s": options.duration_s,
        "warm_up_s": options.warm_up_s,
        "hold_s": options.hold_s,
        "payload_bytes": options.payload_bytes,
        "cores": {"broker": options.broker_core, "generator": options.generator_core},
    }


def default_output(options: argparse.Namespace, started: datetime.datetime) -> Path:
    """A whole run is kept with the code, named as the other results are; a part of one is not."""
    if options.quick or options.only or options.peer or options.no_hub:
        return Path(tempfile.gettempdir()) / f"edgehub-compare-{started:%Y%m%dT%H%M%SZ}.json"
    return RESULTS / f"{started:%Y-%m-%d}-{architecture_label()}-{os.cpu_count()}core-hub.json"


def wrong(runs: Sequence[dict[str, Any]], brokers: Sequence[str]) -> bool:
    """Whether a run of one of these brokers failed or had problems, or there was none."""
    counted = [run for run in runs if run["broker_name"] in brokers]
    return not counted or any("error" in run or run["problems"] for run in counted)


def main(arguments: Sequence[str]) -> int:
    """Run everything, write the result, print the tables. 1: our hub or mosquitto failed or had problems."""
    options = checked_options(__doc__ or "", arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    for name, reason in options.chosen.skipped.items():
        sys.stderr.write(f"{name} is left out; {reason}\n")
    scenarios, recipe = chosen_scenarios(options), hub_recipe(options)
    contenders = [peer_contender(peer) for peer in options.chosen.peers]
    contenders += hub_contenders(options, recipe) if recipe is not None else []
    started = datetime.datetime.now(datetime.UTC)
    document, runs = facts(options, started), []
    with contextlib.suppress(KeyboardInterrupt):
        # One by one, so that an interrupt keeps what there is.
        for run in run_all(options, scenarios, contenders):
            runs.append(run)  # noqa: PERF402
    rows, bars = summary_of(runs, scenarios, contenders)
    document |= {"load_average_1min_after": round(os.getloadavg()[0], 2), "summary": rows, "bars": bars}
    output = options.output or default_output(options, started)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**document, "runs": runs}, indent=1) + "\n")
    sys.stdout.write(f"{table(rows)}\n{bar_table(bars) if bars else ''}\nwritten to {output}\n")
    ours = [contender.name for contender in contenders if contender.name.startswith(("edgehub ", PEER))]
    return 1 if wrong(runs, ours) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
