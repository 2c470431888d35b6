"""Moments in log requests (agent spec 5.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.methods.times import parse_moment_s

NOW_S = 1_700_000_000.9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", 1_700_000_000 - 5400),
        ("1 day", 1_700_000_000 - 86_400),
        ("2h30m", 1_700_000_000 - 9000),
        ("1 hour 30 minutes", 1_700_000_000 - 5400),
        ("1H", 1_700_000_000 - 3600),
        ("0s", 1_700_000_000),
        ("999999999 weeks", 0),
        ("1600000000", 1_600_000_000),
        ("2026-08-01T00:00:00Z", 1_785_542_400),
        ("2026-08-01T02:00:00+02:00", 1_785_542_400),
        ("2026-08-01", 1_785_542_400),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert parse_moment_s(text, NOW_S) == expected


@pytest.mark.parametrize("text", ["", " ", "yesterday", "1 fortnight", "-5m", "2026-13-01"])
def test_what_is_no_moment_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 90m or 1 day"):
        parse_moment_s(text, NOW_S)


@given(st.text(max_size=20))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        moment = parse_moment_s(text, NOW_S)
    except ValueError:
        return
    assert moment >= 0
