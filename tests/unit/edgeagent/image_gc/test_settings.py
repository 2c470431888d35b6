"""Settings of the image garbage collection (row X12)."""

from __future__ import annotations

import contextlib
from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.image_gc.durations import parse_duration_s
from edgeagent.image_gc.settings import DAY_S, GcSettings, GcSettingsError, read_gc_settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1d", 86_400),
        ("7 days", 604_800),
        ("1w", 604_800),
        ("24h", 86_400),
        ("12h 30m", 45_000),
        ("2h30m", 9000),
        (" 90 sec ", 90),
        ("1M", 2_630_016),
        ("1y", 31_557_600),
        ("500ms", 0.5),
        ("0s", 0),
        ("100years", 3_155_760_000),
    ],
)
def test_spans_of_time(text: str, seconds: float) -> None:
    if seconds > 100 * 365 * DAY_S:
        with pytest.raises(ValueError, match="longer than a hundred years"):
            parse_duration_s(text)
    else:
        assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "1", "d", "1 parsec", "-1d", "1.5d", "1d,2h", "1d x", "D1", "\u0661d", "1" * 13 + "d"]
)
def test_what_is_no_span_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of time; expected such as 1d"):
        parse_duration_s(text)


@given(st.text(alphabet="0123456789dhms wMy.-", max_size=300))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration_s(text) >= 0


def test_defaults() -> None:
    assert read_gc_settings({}) == GcSettings(True, 1, 7 * DAY_S, time(0, 0))


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("24h", 1), ("48h", 2), ("1w", 7), ("1440m", 1)])
def test_x12_recurrence_of_whole_days(text: str, days: int) -> None:
    assert read_gc_settings({"cleanup_recurrence": text}).recurrence_days == days


@pytest.mark.parametrize("text", ["25h", "1h", "1d 1s", "0d", "0s"])
def test_x12_other_recurrences_are_refused(text: str) -> None:
    with pytest.raises(GcSettingsError, match="not a duration that is a multiple of days"):
        read_gc_settings({"cleanup_recurrence": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00:00", time(0, 0)), ("23:59", time(23, 59)), ("7:05", time(7, 5)), ("19:30", time(19, 30))],
)
def test_x12_time_of_the_cleanup(text: str, expected: time) -> None:
    assert read_gc_settings({"cleanup_time": text}).cleanup_time == expected


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"cleanup_time": "24:00"}, "image_garbage_collection.cleanup_time: .*expected 00:00 to 23:59"),
        ({"cleanup_time": "12:60"}, "cleanup_time"),
        ({"cleanup_time": "12"}, "cleanup_time"),
        ({"cleanup_time": 12}, "cleanup_time: expected a text"),
        ({"enabled": "yes"}, "enabled: expected true or false"),
        ({"image_age_cleanup_threshold": "old"}, "image_age_cleanup_threshold: .*no span of time"),
        (
            {"cleanup_recurence": "1d"},
            "cleanup_recurence: is not known; there are enabled, cleanup_recurrence",
        ),
    ],
)
def test_mistakes_are_named(section: dict[str, Any], place: str) -> None:
    with pytest.raises(GcSettingsError, match=place):
        read_gc_settings(section)


def test_all_members() -> None:
    section = {
        "enabled": False,
        "cleanup_recurrence": "2d",
        "image_age_cleanup_threshold": "36h",
        "cleanup_time": "03:15",
    }
    assert read_gc_settings(section) == GcSettings(False, 2, 36 * 3600, time(3, 15))
