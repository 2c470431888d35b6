"""Facts about the machine and the tools that a reader of the numbers needs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

Facts = dict[str, str | int]
"""Name to value, as in the other result files."""


def _field(text: str, names: tuple[str, ...]) -> str:
    """The first value of the first of `names` in a `name : value` file; empty if none is there."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return next((found[name] for name in names if name in found), "")


def machine() -> Facts:
    """Processor, cores, kernel and memory."""
    memory = _field(Path("/proc/meminfo").read_text(), ("MemTotal",))
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "cpu_model": _field(Path("/proc/cpuinfo").read_text(), ("model name", "Model")) or "unknown",
        "kernel": platform.release(),
        "memory_kib": int(memory.removesuffix(" kB") or 0),
    }


def tool_version(*command: str) -> str:
    """First line that `command` prints; `absent` if it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "absent"
    return done.stdout.splitlines()[0].strip() if done.stdout else ""


def architecture_label() -> str:
    """The architecture as the names of result files have it."""
    return {"x86_64": "x86", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
