"""Runs the program `store-bench`: one process for each scenario, contender and mode, in turns."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from measuring.scenarios import ROOT, target_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STORE_PACKAGE = "edgehub-bench-store"
PEERS = ("rocksdb", "sqlite")
RUN_LIMIT_S = 1800.0

Figures = dict[str, Any]
"""What one process measured, by name."""


class RunError(Exception):
    """A run failed, or delivered something wrong."""


@dataclass(frozen=True)
class Sizes:
    """How many messages.

    :param scale: messages of a run as a fraction of the scenario's own number; backlogs excepted.
    :param peer_scale: the same for the others, which take much longer.
    :param backlog: messages in the backlog of this project's store.
    :param peer_backlog: messages in the backlog of the others.
    """

    scale: float
    peer_scale: float
    backlog: int
    peer_backlog: int


@dataclass(frozen=True)
class Run:
    """One process to be."""

    scenario: str
    contender: str
    mode: str
    messages: int


def build_store_bench(peers: Sequence[str]) -> Path:
    """Builds the program with these peers; returns its path."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", STORE_PACKAGE]
    if peers:
        command += ["--features", ",".join(peers)]
    subprocess.run(command, cwd=ROOT, check=True)
    return target_dir() / "release" / "store-bench"


def listing(program: Path) -> Figures:
    """Scenarios and contenders, as the program lists them."""
    done = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    listed: Figures = json.loads(done.stdout)
    return listed


def wanted_modes(scenario: Figures, contender: Figures) -> list[str]:
    """The modes that say something.

    A backlog is opened the same way in all modes; of the modes of edgehub only `group` has a window.
    """
    modes: list[str] = contender["modes"]
    if scenario["backlog"]:
        return modes[:1]
    if scenario["name"].startswith("group") and "group" in modes:
        return ["group"]
    return modes


def messages_of(scenario: Figures, contender: str, sizes: Sizes) -> int:
    """Messages of a run."""
    if scenario["backlog"]:
        return sizes.peer_backlog if contender in PEERS else sizes.backlog
    usual: int = scenario["messages"]
    return max(1, round(usual * (sizes.peer_scale if contender in PEERS else sizes.scale)))


def plan(listed: Figures, sizes: Sizes, only: str = "") -> list[Run]:
    """One round: all contenders of a scenario in turn, for scenarios whose name contains `only`."""
    return [
        Run(scenario["name"], about["name"], mode, messages_of(scenario, about["name"], sizes))
        for scenario in listed["scenarios"]
        if only in scenario["name"]
        for about in listed["contenders"]
        if about["built"] and not (scenario.get("own") and about["name"] in PEERS)
        for mode in wanted_modes(scenario, about)
    ]


def rounds(runs: Sequence[Run], repeats: int) -> Iterator[Run]:
    """All runs, repeated, every other time in reverse: no contender always comes after the same other one."""
    for repeat in range(repeats):
        yield from runs if repeat % 2 == 0 else reversed(runs)


def measure(program: Path, run: Run, folder: Path) -> Figures:
    """Runs one process on the disk that `folder` is on."""
    about = f"{run.scenario}, {run.contender} {run.mode}"
    command = [str(program), "--scenario", run.scenario, "--contender", run.contender, "--mode", run.mode]
    command += ["--messages", str(run.messages), "--dir", str(folder), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    except OSError as error:
        raise RunError(f"{about}: {error}") from None
    except subprocess.TimeoutExpired:
        raise RunError(f"{about}: not done after {RUN_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise RunError(f"{about}: {done.stderr.strip()[-500:]}")
    figures: Figures = json.loads(done.stdout)
    return figures
