"""Latency as quantiles. Pure: times are passed in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES_MAX: Final = 100_000
"""Samples that a window keeps; the oldest go first."""


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Quantiles in milliseconds; None without a sample."""

    count: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank).

    :param ordered: ascending, not empty.
    :param share: above 0, at most 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarize(values_ms: Sequence[float]) -> LatencySummary:
    """Median, 99th percentile and maximum."""
    if not values_ms:
        return LatencySummary(0)
    ordered = sorted(values_ms)
    return LatencySummary(len(ordered), quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1])


class LatencyWindow:
    """Latencies of the last seconds.

    :param window_s: age at which a sample no longer counts.
    """

    def __init__(self, window_s: float, samples_max: int = SAMPLES_MAX) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=samples_max)

    def add(self, latency_ms: float, now_s: float) -> None:
        """A message arrived now. `now_s` must not decrease from call to call."""
        self._samples.append((now_s, latency_ms))

    def summary(self, now_s: float) -> LatencySummary:
        """Of the samples in the window."""
        while self._samples and self._samples[0][0] <= now_s - self._window_s:
            self._samples.popleft()
        return summarize([latency_ms for _, latency_ms in self._samples])
