"""Per-station summaries of a second. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(slots=True)
class _Station:
    count: int = 0
    total_f: float = 0.0
    highest_f: float = float("-inf")


class Summary:
    """Gathers readings until they are taken as one message."""

    def __init__(self) -> None:
        self._stations: dict[str, _Station] = {}

    def add(self, station: str, temperature_f: float) -> None:
        """Counts one reading."""
        entry = self._stations.setdefault(station, _Station())
        entry.count += 1
        entry.total_f += temperature_f
        entry.highest_f = max(entry.highest_f, temperature_f)

    def take(self) -> str | None:
        """JSON with count, mean and maximum of every station, and a new start; None without readings."""
        if not self._stations:
            return None
        stations, self._stations = self._stations, {}
        return json.dumps(
            {
                name: {
                    "readings": entry.count,
                    "meanF": round(entry.total_f / entry.count, 1),
                    "maxF": entry.highest_f,
                }
                for name, entry in sorted(stations.items())
            }
        )
