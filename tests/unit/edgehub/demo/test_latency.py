from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.latency import LatencySummary, LatencyWindow, quantile, summarize

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(VALUES, st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= math.floor(share * len(ordered))
    below = [value for value in ordered if value < found]
    assert len(below) <= share * len(ordered)


@given(VALUES)
def test_a_summary_is_ordered(values: list[float]) -> None:
    found = summarize(values)
    assert found.count == len(values)
    assert found.p50_ms is not None
    assert found.p99_ms is not None
    assert min(values) <= found.p50_ms <= found.p99_ms <= max(values)
    assert found.max_ms == max(values)


def test_known_quantiles() -> None:
    assert summarize([float(value) for value in range(1, 101)]) == LatencySummary(100, 50.0, 99.0, 100.0)


def test_nothing_has_no_quantiles() -> None:
    assert summarize([]) == LatencySummary(0)


def test_a_window_forgets() -> None:
    window = LatencyWindow(5.0)
    window.add(10.0, 0.0)
    window.add(20.0, 4.0)
    assert window.summary(4.0).count == 2
    assert window.summary(5.0) == LatencySummary(1, 20.0, 20.0, 20.0)
    assert window.summary(9.0) == LatencySummary(0)


def test_a_window_is_bounded() -> None:
    window = LatencyWindow(5.0, samples_max=3)
    for value in range(10):
        window.add(float(value), 0.0)
    assert window.summary(0.0) == LatencySummary(3, 8.0, 9.0, 9.0)
