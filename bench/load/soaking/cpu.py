"""CPU time of processes over an interval."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of a process since its start, in seconds.

    Raises:
        OSError: there is no such process.
    """
    # The command in brackets may hold anything, so that counting begins behind its end.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class CpuMeter:
    """Shares of a core from now on."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)
        self._began = time.monotonic()
        self._at_start = {name: cpu_s(pid) for name, pid in self._processes.items()}

    def shares(self) -> dict[str, float]:
        """Share of a core by name; a process that has ended is left out."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        found = {}
        for name, pid in self._processes.items():
            try:
                found[name] = round((cpu_s(pid) - self._at_start[name]) / seconds, 3)
            except OSError:
                continue
        return found
