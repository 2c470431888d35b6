"""Pauses before a message is sent again (agent spec 6.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.quality.retry import RETRIES_MAX, SPREAD, pause_s


def test_pauses_double_up_to_twelve_hours() -> None:
    minutes = [(pause_s(retries, 1.0) or 0) / 60 for retries in range(RETRIES_MAX)]
    assert minutes == [5, 6, 8, 12, 20, 36, 68, 132, 260, 516, *[720] * 10]


def test_after_twenty_there_is_no_more() -> None:
    assert RETRIES_MAX == 20
    assert pause_s(RETRIES_MAX, 1.0) is None


@given(st.integers(0, 19), st.floats(*SPREAD))
def test_all_are_within_bounds(retries: int, spread: float) -> None:
    pause = pause_s(retries, spread)
    assert pause is not None
    assert 300 <= pause <= 12 * 3600
