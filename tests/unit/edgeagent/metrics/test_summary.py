"""Quantiles over a window (agent spec 6.1)."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.metrics.summary import QUANTILES, SAMPLES_MAX, Summary


def test_count_and_sum_are_since_the_start_quantiles_of_the_window() -> None:
    summary = Summary(60)
    for second in range(101):
        summary.observe(float(second), second)
    assert len(summary._samples) == 61
    assert (summary.count, summary.sum) == (101, 5050.0)
    assert summary.quantiles(100) == [(0.1, 46.0), (0.5, 70.0), (0.9, 94.0), (0.99, 99.0)]
    assert summary.quantiles(160) == [(quantile, 100.0) for quantile in QUANTILES]


def test_without_a_value_in_the_window_there_is_no_number() -> None:
    summary = Summary(60)
    assert all(math.isnan(value) for _, value in summary.quantiles(0))
    summary.observe(1, 0)
    assert all(math.isnan(value) for _, value in summary.quantiles(61))
    assert summary.count == 1


def test_the_newest_samples_are_kept() -> None:
    summary = Summary(1e9)
    for number in range(SAMPLES_MAX + 1):
        summary.observe(-float(number), 0)
    assert summary.count == SAMPLES_MAX + 1
    assert len(summary._samples) == SAMPLES_MAX
    assert -0.0 not in [value for _, value in summary._samples]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_a_quantile_is_a_value_that_was_observed_and_they_rise(values: list[float]) -> None:
    summary = Summary(10)
    for value in values:
        summary.observe(value, 5)
    found = [value for _, value in summary.quantiles(6)]
    assert set(found) <= set(values)
    assert found == sorted(found)
