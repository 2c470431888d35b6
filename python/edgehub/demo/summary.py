"""Per-sensor summaries of a second. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(slots=True)
class _Sensor:
    count: int = 0
    total_c: float = 0.0
    lowest_c: float = float("inf")
    highest_c: float = float("-inf")


class Summary:
    """Gathers readings until they are taken as one message."""

    def __init__(self) -> None:
        self._sensors: dict[str, _Sensor] = {}

    def add(self, sensor: str, temperature_c: float) -> None:
        """Counts one reading."""
        entry = self._sensors.setdefault(sensor, _Sensor())
        entry.count += 1
        entry.total_c += temperature_c
        entry.lowest_c = min(entry.lowest_c, temperature_c)
        entry.highest_c = max(entry.highest_c, temperature_c)

    def take(self) -> str | None:
        """JSON with count, mean and range of every sensor, and a new start; None without readings."""
        if not self._sensors:
            return None
        sensors, self._sensors = self._sensors, {}
        return json.dumps(
            {
                name: {
                    "readings": entry.count,
                    "meanC": round(entry.total_c / entry.count, 2),
                    "minC": entry.lowest_c,
                    "maxC": entry.highest_c,
                }
                for name, entry in sorted(sensors.items())
            }
        )
