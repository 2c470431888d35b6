"""Which images go, and when (row X10)."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.image_gc.decision import first_run, next_run, plan, still_due
from edgeagent.image_gc.settings import GcSettings

NOW = 10_000


def test_x10_only_old_unused_and_unprotected_images_go() -> None:
    uses = {"old": 100, "older": 50, "young": NOW - 99, "at-limit": NOW - 100, "used": 100, "agent": 100}
    decided = plan(uses, NOW, 100, in_use={"used", "untracked"}, protected={"agent", "untracked-2"})
    assert decided.delete == ("older", "old", "at-limit")
    assert decided.keep == {"young": NOW - 99, "used": NOW, "agent": 100}


def test_a_use_in_the_future_counts_as_now() -> None:
    assert plan({"a": NOW + 5}, NOW, 10, (), ()).keep == {"a": NOW}


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.integers(0, 20_000)), st.integers(0, 5000), st.sets(NAMES), st.sets(NAMES))
def test_x10_every_tracked_image_is_kept_or_deleted_and_no_other(
    uses: dict[str, int], age_s: int, in_use: set[str], protected: set[str]
) -> None:
    decided = plan(uses, NOW, age_s, in_use, protected)
    assert set(decided.delete) | set(decided.keep) == set(uses)
    assert not set(decided.delete) & set(decided.keep)
    assert not set(decided.delete) & protected
    if age_s:
        assert not set(decided.delete) & in_use


AT_THREE = GcSettings(recurrence_days=2, cleanup_time=time(3, 0))


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (datetime(2026, 8, 1, 2, 59), datetime(2026, 8, 1, 3, 0)),
        (datetime(2026, 8, 1, 3, 0), datetime(2026, 8, 2, 3, 0)),
        (datetime(2026, 8, 31, 23, 0), datetime(2026, 9, 1, 3, 0)),
    ],
)
def test_the_first_run_is_at_the_next_such_time(now: datetime, first: datetime) -> None:
    assert first_run(now, AT_THREE) == first


def test_runs_stay_at_their_time_of_the_day() -> None:
    assert next_run(datetime(2026, 8, 1, 3, 0, 0, 5), AT_THREE) == datetime(2026, 8, 3, 3, 0)
    late = datetime(2026, 8, 1, 17, 45)
    assert next_run(late, AT_THREE) == datetime(2026, 8, 3, 3, 0)


def test_a_clock_that_is_set_back_does_not_put_a_run_off_for_ever() -> None:
    due = datetime(2036, 8, 3, 3, 0)
    assert still_due(due, datetime(2026, 8, 1, 12, 0), AT_THREE) == datetime(2026, 8, 2, 3, 0)
    assert still_due(due, due - timedelta(days=2), AT_THREE) == due
