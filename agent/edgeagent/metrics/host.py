"""What the machine says of itself, in files of `/proc` (agent spec 3.9, 6.2).

Also in a container these are of the whole machine; only the mounts are the container's own, and those of
files that the engine or the operator bound into it show the disks of the machine.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DISKS_MAX = 32
"""Further ones are left out."""

_MEMORY = re.compile(r"(MemTotal|MemAvailable):\s+(\d{1,18}) kB", re.ASCII)
_CPU = re.compile(r"cpu((?:\s+\d{1,20}){7,})\s*", re.ASCII)
_UPTIME = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s", re.ASCII)
_OCTAL = re.compile(r"\\([0-7]{3})", re.ASCII)
_IDLE, _IOWAIT, _GUEST = 3, 4, 8


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mounts."""

    device: str
    folder: str
    filesystem: str


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system on a device.

    :param kind: `SSD`, `HDD` or `Unknown`.
    :param available_bytes: for those who are not root.
    """

    name: str
    filesystem: str
    kind: str
    available_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine at one moment; 0 for what it does not say.

    :param cpu_busy: time of all processors that was used since the start, in whatever unit.
    :param cpu_total: time of all processors that passed, in the same one.
    """

    uptime_s: float = 0.0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    cpu_busy: int = 0
    cpu_total: int = 0
    disks: tuple[Disk, ...] = ()


def host_cpu_percent(before: HostSample, now: HostSample) -> float | None:
    """Share of all processors between two samples; None where there is no sense in it."""
    passed = now.cpu_total - before.cpu_total
    if passed <= 0:
        return None
    percent = 100.0 * (now.cpu_busy - before.cpu_busy) / passed
    return percent if 0.0 <= percent <= 100.0 else None


def parse_uptime(text: str) -> float:
    """Seconds from `/proc/uptime`."""
    found = _UPTIME.match(text)
    return float(found[1]) if found else 0.0


def parse_memory(text: str) -> tuple[int, int]:
    """Bytes in use and bytes at all from `/proc/meminfo`; what the system would give back is not in use."""
    found = {name: int(kib) * 1024 for name, kib in _MEMORY.findall(text)}
    total = found.get("MemTotal", 0)
    return max(total - found.get("MemAvailable", total), 0), total


def parse_cpu(text: str) -> tuple[int, int]:
    """Busy and total time from the first line of `/proc/stat`."""
    found = _CPU.match(text.partition("\n")[0])
    if found is None:
        return 0, 0
    # What guests took is in the time of their users already.
    times = [int(part) for part in found[1].split()][:_GUEST]
    total = sum(times)
    return total - times[_IDLE] - times[_IOWAIT], total


def parse_mounts(text: str) -> list[Mount]:
    """One mount of every device, from `/proc/self/mounts`; the root where there is no device at all."""
    by_device: dict[str, Mount] = {}
    root: list[Mount] = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 3:
            continue
        mount = Mount(*(_OCTAL.sub(lambda code: chr(int(code[1], 8)), part) for part in parts[:3]))
        if mount.folder == "/":
            root = [mount]
        if mount.device.startswith("/dev/") and not mount.device.startswith("/dev/loop"):
            by_device.setdefault(mount.device, mount)
    return list(by_device.values())[:DISKS_MAX] or root


def read_host(
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
) -> HostSample:
    """Reads everything; blocks, if a disk hangs for long."""
    used, total = parse_memory(_text(proc / "meminfo"))
    busy, passed = parse_cpu(_text(proc / "stat"))
    disks = (_disk(mount, sys, statvfs) for mount in parse_mounts(_text(proc / "self/mounts")))
    return HostSample(
        parse_uptime(_text(proc / "uptime")),
        used,
        total,
        busy,
        passed,
        tuple(disk for disk in disks if disk is not None),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _disk(mount: Mount, sys: Path, statvfs: Callable[[str], os.statvfs_result]) -> Disk | None:
    try:
        found = statvfs(mount.folder)
        device = os.stat(mount.folder).st_dev
    except (OSError, ValueError):
        return None
    if not found.f_blocks:
        return None
    return Disk(
        mount.device,
        mount.filesystem,
        _kind(sys / "dev/block" / f"{os.major(device)}:{os.minor(device)}"),
        found.f_bavail * found.f_frsize,
        found.f_blocks * found.f_frsize,
    )


def _kind(device: Path) -> str:
    """A partition has no queue of its own, its disk has."""
    for queue in (device / "queue", device / ".." / "queue"):
        rotational = _text(queue / "rotational").strip()
        if rotational:
            return "HDD" if rotational == "1" else "SSD"
    return "Unknown"
