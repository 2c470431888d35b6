"""A bound on log lines that many clients at once would cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehub.common.clock import Clock


class LineBudget:
    """So many lines at once, then so many per second; what does not fit is counted.

    :ivar untold: lines that did not fit since the last one that did; whoever tells sets it back.
    """

    def __init__(self, clock: Clock, burst: float, lines_per_s: float) -> None:
        self._clock = clock
        self._burst = burst
        self._lines_per_s = lines_per_s
        self._left = burst
        self._refilled_s = clock.monotonic_s()
        self.untold = 0

    def spend(self) -> bool:
        """Whether one more line may be written; else it counts as untold."""
        now_s = self._clock.monotonic_s()
        self._left = min(self._burst, self._left + (now_s - self._refilled_s) * self._lines_per_s)
        self._refilled_s = now_s
        if self._left < 1.0:
            self.untold += 1
            return False
        self._left -= 1.0
        return True

    def take_untold(self) -> int:
        """How many lines were left out; counts from zero again."""
        untold, self.untold = self.untold, 0
        return untold
