from __future__ import annotations

import importlib.util
import itertools
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo import readings
from edgehub.demo.errors import MissingPackageError, ReadingsError
from edgehub.demo.readings import FILES, Reading, parse_readings, read_station, replay


def test_columns_may_come_in_any_order_and_dates_in_both_forms() -> None:
    expected = [Reading(datetime(2010, 7, 1, 13), 64.2)]
    assert parse_readings("date,temp\n2010/07/01 13:00,64.2\n", "x") == expected
    assert parse_readings("temp,date\n64.2,2010/07/01 13:00:00", "x") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns"),
        ("date,temperature\n", "line 1: expected the columns"),
        ("date,temp\n", "no readings"),
        ("date,temp\n2010/07/01 13:00,64.2\n2010-07-01,3\n", "line 3: expected a date"),
        ("date,temp\n2010/07/01 13:00,warm\n", "line 2: expected a temperature"),
        ("date,temp\n2010/07/01 13:00,nan\n", "line 2: expected a temperature"),
        ("date,temp\n2010/07/01 13:00\n", "line 2: expected a temperature"),
    ],
)
def test_bad_content_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ReadingsError, match=message):
        parse_readings(text, "x.csv")


def test_a_file_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "READINGS_MAX", 2)
    rows = "\n".join(["2010/07/01 13:00,64.2"] * 3)
    with pytest.raises(ReadingsError, match="line 4: more than 2"):
        parse_readings(f"date,temp\n{rows}\n", "x")


@given(st.integers(1, 30), st.integers(0, 40))
def test_replay_begins_at_the_first_day_and_wraps(count: int, first_hour: int) -> None:
    series = [Reading(datetime(2010, 1, 1 + at // 24, at % 24), float(at)) for at in range(count)]
    first = datetime(2010, 1, 1 + first_hour // 24, first_hour % 24)
    start = first_hour if first_hour < count else 0
    taken = [reading.temperature_f for reading in itertools.islice(replay(series, first), 2 * count)]
    assert taken[: count - start] == [float(at) for at in range(start, count)]
    assert taken[count - start :] == [float(at % count) for at in range(len(taken) - (count - start))]


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"vega-datasets is missing.*edgehub\[demo\]"):
        read_station("seattle")


@pytest.mark.parametrize("station", sorted(FILES))
def test_the_installed_series_covers_2010_hour_by_hour(station: str) -> None:
    series = read_station(station)
    hours = [reading.hour for reading in series]
    # A year has 8760 hours; both files leave out one, on the night that daylight saving time begins.
    assert len(set(hours)) == 8759
    assert hours == sorted(hours)
    assert (hours[0], hours[-1]) == (datetime(2010, 1, 1), datetime(2010, 12, 31, 23))
    assert datetime(2010, 3, 14, 3) not in hours
