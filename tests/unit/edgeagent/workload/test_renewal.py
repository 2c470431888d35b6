from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.renewal import expiry_warning, renewal_due

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=90)


@pytest.mark.parametrize(
    ("days", "due"),
    [(-400, False), (-1, False), (0, False), (71.99, False), (72, True), (90, True), (9000, True)],
)
def test_x06_renewal_at_80_percent(days: float, due: bool) -> None:
    """Row X06. A clock before 2026 is one that is not set yet."""
    assert renewal_due(START, END, START + timedelta(days=days)) is due


@pytest.mark.parametrize(("days", "due"), [(-1, False), (-1.01, True), (-3000, True), (-4000, False)])
def test_a_ca_that_was_made_when_the_clock_was_wrong(days: float, due: bool) -> None:
    """The clock jumped to 2036 and back: nothing would be valid for ten years."""
    start = START.replace(year=2036)
    assert renewal_due(start, start + timedelta(days=90), start + timedelta(days=days)) is due


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (-1, "valid from 2026-01-01T00:00:00+00:00; this clock says 2025-12-31T00:00:00+00:00"),
        (0, None),
        (71, None),
        (72, "expires on 2026-04-01T00:00:00+00:00: "),
        (90, "expired on 2026-04-01T00:00:00+00:00, so none is issued: "),
    ],
)
@pytest.mark.parametrize(
    ("renewed_here", "advice"), [(True, "it is renewed within a minute"), (False, "replace its files")]
)
def test_warnings(days: int, text: str | None, renewed_here: bool, advice: str) -> None:
    found = expiry_warning(START, END, START + timedelta(days=days), renewed_here=renewed_here)
    if text is None:
        assert found is None
    else:
        assert text in (found or "")
        assert days < 0 or advice in (found or "")


@given(st.integers(1, 10**8), st.integers(0, 10**8))
def test_once_due_stays_due(validity_s: int, after_s: int) -> None:
    end = START + timedelta(seconds=validity_s)
    due_at = START + timedelta(seconds=validity_s) * 0.8
    assert renewal_due(START, end, due_at + timedelta(seconds=after_s))
    before = due_at - timedelta(seconds=after_s + 1)
    assert not renewal_due(START, end, before)
