"""The scenarios of the Rust side, as its program lists them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "bench" / "results"
PACKAGE = "edgehub-bench-router"


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    :param bar_ns: nanoseconds that one step may take; None for what is only shown.
    :param counted: whether its instructions are counted.
    """

    name: str
    bar_ns: int | None
    counted: bool


def target_dir() -> Path:
    """Where cargo builds."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build_program() -> Path:
    """Builds the program that runs one scenario; returns its path."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", PACKAGE]
    subprocess.run(command, cwd=ROOT, check=True)
    return target_dir() / "release" / "router-scenario"


def scenarios(program: Path) -> list[Scenario]:
    """All scenarios, in order."""
    done = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    return [Scenario(**entry) for entry in json.loads(done.stdout)]
