"""The command line of compare.py, checked."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.hub import HubRecipe, split_command
from comparison.own_hub import own_recipe
from comparison.peers import all_peers, choose
from comparison.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[3]
READY_URL = "http://127.0.0.1:9600/healthz"
BUILD = "cargo build --release -p edgehub-bench-load"


def parser(description: str) -> argparse.ArgumentParser:
    """The command line.

    Args:
        description: what --help begins with.
    """
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--generator", type=Path, default=ROOT / "target/release/edgehub-load")
    found.add_argument("--mosquitto", default="/usr/sbin/mosquitto", help="binary of mosquitto")
    found.add_argument("--broker-core", type=int, default=0, help="core that brokers are pinned to")
    found.add_argument("--generator-core", type=int, default=1, help="core that the generator is pinned to")
    found.add_argument("--repeats", type=int, default=3)
    found.add_argument("--duration-s", type=float, default=5.0)
    found.add_argument("--warm-up-s", type=float, default=1.0)
    found.add_argument("--hold-s", type=float, default=15.0, help="how long idle connections are held")
    found.add_argument("--payload-bytes", type=int, default=256)
    found.add_argument("--quick", action="store_true", help="each row once, for half a second")
    found.add_argument(
        "--only", action="append", default=[], metavar="PART", help="only scenarios whose name contains this"
    )
    found.add_argument("--peer", action="append", metavar="NAME", help="only this peer; may be repeated")
    found.add_argument("--dir", type=Path, help="folder for what brokers store; by default the system's")
    found.add_argument(
        "--output",
        type=Path,
        help="result file; by default in bench/results, that of a part in the system's temporary folder",
    )
    found.add_argument("--no-hub", action="store_true", help="measure the peers alone")
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


def checked_options(description: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The options; ends the program with a clear line when they contradict each other."""
    reader = parser(description)
    options = reader.parse_args(arguments)
    if options.repeats < 1:
        reader.error("--repeats must be at least 1")
    if options.quick:
        options.repeats, options.duration_s, options.warm_up_s, options.hold_s = 1, 0.5, 0.3, 1.0
    if not chosen_scenarios(options):
        reader.error(f"no scenario has any of {options.only} in its name")
    check_hub(reader, options)
    try:
        options.chosen = choose(all_peers(options.mosquitto), options.peer)
    except ValueError as problem:
        reader.error(f"--peer: {problem}")
    if not os.access(options.generator, os.X_OK):
        reader.error(f"no generator at {options.generator}; build it with {BUILD}")
    return options


def check_hub(reader: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program when a hub that is started in another way cannot be reached."""
    if options.hub_command is None or options.no_hub:
        return
    if options.hub_clients is None:
        reader.error("--hub-command needs --hub-clients")
    recipe = hub_recipe(options)
    try:
        if recipe is not None:
            recipe.endpoints()
    except ValueError as problem:
        reader.error(f"{problem}: --hub-plain-port, --hub-tls-port with --hub-ca")


def chosen_scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Those that --only leaves."""
    return [
        scenario
        for scenario in SCENARIOS
        if not options.only or any(part in scenario.name for part in options.only)
    ]


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
