"""Exponential waits with jitter. Pure: randomness is passed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

JITTER: Final = 0.2
"""Each wait is spread by this share to both sides, so that many hubs do not come back at the same moment."""


class Backoff:
    """Waits that double.

    :param min_s: first wait.
    :param max_s: longest wait, before jitter.
    :param random: numbers in [0, 1).
    """

    def __init__(self, min_s: float, max_s: float, random: Callable[[], float]) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._random = random
        self._failures = 0

    def wait_s(self, failures: int, at_most_s: float = math.inf) -> float:
        """Wait after so many failures in a row, the first counting as 1.

        :param at_most_s: longest wait for once, before jitter.
        """
        exponent = min(max(failures, 1) - 1, 32)
        base = min(self._min_s * 2.0**exponent, self._max_s, at_most_s)
        spread: float = 1.0 + JITTER * (2.0 * self._random() - 1.0)
        return base * spread

    def next_s(self, at_most_s: float = math.inf) -> float:
        """Counts a failure and gives the wait after it."""
        self._failures += 1
        return self.wait_s(self._failures, at_most_s)

    def reset(self) -> None:
        """The next failure counts as the first."""
        self._failures = 0
