"""What the kernel says of this machine. The readers of its texts are pure."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOUNTS_MAX = 100
_PROC_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Host:
    """What does not change.

    :param kernel: its name, such as `Linux`.
    """

    kernel: str
    kernel_release: str
    kernel_version: str
    architecture: str
    processors: int


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Of all processors since the start of the machine, in the kernel's ticks."""

    busy: int
    total: int


def this_host() -> Host:
    names = os.uname()
    return Host(names.sysname, names.release, names.version, names.machine, os.cpu_count() or 0)


def parse_cpu_times(text: str) -> CpuTimes:
    """First line of `/proc/stat`; noughts for what is none."""
    numbers = [int(word) for word in text.partition("\n")[0].split()[1:9] if word.isdecimal()]
    idle = sum(numbers[3:5])
    return CpuTimes(sum(numbers) - idle, sum(numbers))


def cpu_percent(before: CpuTimes, now: CpuTimes) -> float:
    """Share of all processors between two samples."""
    passed = now.total - before.total
    return round(100.0 * max(0, now.busy - before.busy) / passed, 2) if passed > 0 else 0.0


def parse_memory(text: str) -> tuple[int, int]:
    """Bytes used and in all, of `/proc/meminfo`."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * 1024
    total = found.get("MemTotal", 0)
    return max(0, total - found.get("MemAvailable", found.get("MemFree", 0))), total


def parse_mounts(text: str) -> list[tuple[str, str, str]]:
    """Device, folder and file system of the disks in `/proc/mounts`, each device once."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or not (words[0].startswith("/dev/") or words[2] == "overlay"):
            continue
        found.setdefault(words[0], (words[0], _unescaped(words[1]), words[2]))
    return list(found.values())[:MOUNTS_MAX]


def _unescaped(text: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, character)
    return text


class HostMeter:
    """Samples of what changes. Blocks no longer than a disk."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._started_s = time.monotonic()
        self._cpu = self._cpu_times()

    def resources(self) -> dict[str, Any]:
        """Members of the object SystemResources; the processors since the last question."""
        before, self._cpu = self._cpu, self._cpu_times()
        used, total = parse_memory(self._text("meminfo"))
        return {
            "host_uptime": _seconds(self._text("uptime")),
            "process_uptime": int(time.monotonic() - self._started_s),
            "used_cpu": cpu_percent(before, self._cpu),
            "used_ram": used,
            "total_ram": total,
            "disks": [disk for mount in parse_mounts(self._text("mounts")) if (disk := _disk(*mount))],
        }

    def _cpu_times(self) -> CpuTimes:
        return parse_cpu_times(self._text("stat"))

    def _text(self, name: str) -> str:
        with contextlib.suppress(OSError), (self._proc / name).open("rb") as file:
            return file.read(_PROC_BYTES_MAX).decode("utf-8", "replace")
        return ""


def _seconds(text: str) -> int:
    first = text.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _disk(device: str, folder: str, file_system: str) -> dict[str, Any] | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return {
        "name": device,
        "available_space": found.f_bavail * found.f_frsize,
        "total_space": found.f_blocks * found.f_frsize,
        "file_system": file_system,
        "file_type": "unknown",
    }
