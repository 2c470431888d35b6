"""Quantiles over a window of time (agent spec 6.1). Pure: time is passed in."""

from __future__ import annotations

from collections import deque

QUANTILES = (0.1, 0.5, 0.9, 0.99)
SAMPLES_MAX = 500
"""Of one summary; when there are more in the window, the quantiles are those of the newest."""


class Summary:
    """Count and sum since the start, quantiles over the last while.

    :param window_s: `MetricsHistogramMaxAge`.
    """

    __slots__ = ("_samples", "_window_s", "count", "sum")

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float, now_s: float) -> None:
        """One more value.

        :param now_s: of a clock that only goes forward.
        """
        self.count += 1
        self.sum += value
        self._samples.append((now_s, value))
        self._forget(now_s)

    def quantiles(self, now_s: float) -> list[tuple[float, float]]:
        """Quantile and value, the nearest one that was observed; not a number without one in the window."""
        self._forget(now_s)
        values = sorted(value for _, value in self._samples)
        if not values:
            return [(quantile, float("nan")) for quantile in QUANTILES]
        return [(quantile, values[round(quantile * (len(values) - 1))]) for quantile in QUANTILES]

    def _forget(self, now_s: float) -> None:
        while self._samples and now_s - self._samples[0][0] > self._window_s:
            self._samples.popleft()
