"""Clocks that only move when told to."""

from __future__ import annotations


class ManualClock:
    """A `Clock` under the test's control."""

    def __init__(self, wall_s: float = 1_700_000_000.0, monotonic_s: float = 1000.0) -> None:
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s

    def wall_s(self) -> float:
        return self._wall_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Moves both clocks."""
        self._wall_s += seconds
        self._monotonic_s += seconds
