"""What a container takes of the machine (agent spec 3.9). The sums are pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CACHES = ("inactive_file", "total_inactive_file", "cache")
"""What the system would give back at once; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """One sample; counters count since the start of the container.

    :param cpu_ns: time of all processors that the container took.
    :param system_cpu_ns: time of all processors that passed.
    :param memory_bytes: without what is only cached.
    :param memory_limit_bytes: 0 when unknown.
    """

    cpu_ns: int
    system_cpu_ns: int
    memory_bytes: int
    memory_limit_bytes: int
    processes: int
    received_bytes: int
    sent_bytes: int
    read_bytes: int
    written_bytes: int


def parse_stats(answer: Any) -> ContainerStats:
    """A sample from the engine's answer; what is missing counts as nought."""
    root = _object(answer)
    cpu = _object(root.get("cpu_stats"))
    memory = _object(root.get("memory_stats"))
    networks = [_object(entry) for entry in _object(root.get("networks")).values()]
    disk = _object(root.get("blkio_stats")).get("io_service_bytes_recursive")
    return ContainerStats(
        cpu_ns=_number(_object(cpu.get("cpu_usage")), "total_usage"),
        system_cpu_ns=_number(cpu, "system_cpu_usage"),
        memory_bytes=_memory_bytes(memory),
        memory_limit_bytes=_number(memory, "limit"),
        processes=_number(_object(root.get("pids_stats")), "current"),
        received_bytes=sum(_number(entry, "rx_bytes") for entry in networks),
        sent_bytes=sum(_number(entry, "tx_bytes") for entry in networks),
        read_bytes=_disk_bytes(disk, "read"),
        written_bytes=_disk_bytes(disk, "write"),
    )


def cpu_percent(before: ContainerStats, now: ContainerStats) -> float | None:
    """Share of all processors between two samples; None where there is no sense in it (restart, no time)."""
    passed_ns = now.system_cpu_ns - before.system_cpu_ns
    if passed_ns <= 0:
        return None
    percent = 100.0 * (now.cpu_ns - before.cpu_ns) / passed_ns
    return percent if 0.0 <= percent < 100.0 else None


def _memory_bytes(memory: Mapping[str, Any]) -> int:
    details = _object(memory.get("stats"))
    cached = next((_number(details, name) for name in _CACHES if name in details), 0)
    return max(0, _number(memory, "usage") - cached)


def _disk_bytes(entries: Any, operation: str) -> int:
    """Operations are `Read` and `Write` with version 1 of control groups, `read` and `write` with 2."""
    rows = [_object(entry) for entry in entries] if isinstance(entries, list) else []
    return sum(_number(row, "value") for row in rows if str(row.get("op")).lower() == operation)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) and found >= 0 else 0
