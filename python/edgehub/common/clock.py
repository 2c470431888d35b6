"""Time as a value that is passed in, so that tests own it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks a decision may ask for."""

    def wall_s(self) -> float:
        """Seconds since the Unix epoch, UTC. For tokens, log lines and reported properties."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump. For gaps, periods and timeouts."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    def wall_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()
