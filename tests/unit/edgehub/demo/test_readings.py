from __future__ import annotations

import gzip
import importlib.util
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo import readings
from edgehub.demo.errors import MissingPackageError, ReadingsError
from edgehub.demo.filter_module import Limits, Received, is_alert
from edgehub.demo.readings import (
    SENSORS,
    Reading,
    data_file,
    parse_readings,
    read_sensor,
    replay,
    unpack,
)

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "time (UTC),temperature (celsius)\n"
ROW = "2016-07-16T13:30:00Z,18.4"
HALF_HOUR = timedelta(minutes=30)


def test_columns_may_come_in_any_order() -> None:
    expected = [Reading(datetime(2016, 7, 16, 13, 30, tzinfo=UTC), 18.4)]
    assert parse_readings(f"{HEADER}{ROW}\n", "x") == expected
    assert parse_readings("temperature (celsius),time (UTC)\n18.4,2016-07-16T13:30:00Z", "x") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns"),
        ("time (UTC),temperature\n", "line 1: expected the columns"),
        (HEADER, "no readings"),
        (f"{HEADER}{ROW}\nyesterday,3\n", "line 3: expected a time"),
        (f"{HEADER}2016-07-16T13:30:00,3\n", "line 2: expected a time"),
        (f"{HEADER}2016-07-16T13:30:00+02:00,3\n", "line 2: expected a time"),
        (f"{HEADER}2016-07-16T13:30:00Z,warm\n", "line 2: expected a temperature"),
        (f"{HEADER}2016-07-16T13:30:00Z,nan\n", "line 2: expected a temperature"),
        (f"{HEADER}2016-07-16T13:30:00Z\n", "line 2: expected a temperature"),
    ],
)
def test_bad_content_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ReadingsError, match=message):
        parse_readings(text, "x.csv")


def test_a_series_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "READINGS_MAX", 2)
    rows = "\n".join([ROW] * 3)
    with pytest.raises(ReadingsError, match="line 4: more than 2"):
        parse_readings(f"{HEADER}{rows}\n", "x")


def test_a_file_is_unpacked_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"12345678"))
    monkeypatch.setattr(readings, "TEXT_BYTES_MAX", 8)
    assert unpack(path) == "12345678"
    monkeypatch.setattr(readings, "TEXT_BYTES_MAX", 7)
    with pytest.raises(ReadingsError, match=r"x\.csv\.gz: more than 7 bytes"):
        unpack(path)


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    whole = gzip.compress(f"{HEADER}{ROW}\n".encode())
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadingsError, match=r"x\.gz: cannot be read"):
            unpack(path)


@pytest.mark.parametrize("content", [None, b"plain", gzip.compress(b"\xff")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReadingsError, match=r"x\.gz: cannot be read"):
        unpack(path)


@given(st.integers(1, 30), st.integers(0, 100))
def test_replay_goes_on_where_it_was_and_wraps(count: int, skip: int) -> None:
    series = [Reading(datetime(2016, 7, 1, tzinfo=UTC) + at * HALF_HOUR, float(at)) for at in range(count)]
    taken = [reading.temperature_c for reading in itertools.islice(replay(series, skip), 2 * count)]
    assert taken == [float((skip + at) % count) for at in range(2 * count)]


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"bokeh-sampledata is missing.*--no-deps bokeh-sampledata=="
    ):
        read_sensor("b01summer")


def test_a_stretch_without_readings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = readings.Stretch(datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))
    monkeypatch.setitem(SENSORS, "later", nothing)
    with pytest.raises(ReadingsError, match="no readings from 2018-01-01"):
        read_sensor("later")


def test_the_installed_series_is_half_hourly_over_thirteen_months() -> None:
    series = parse_readings(unpack(data_file()), "x")
    times = [reading.time for reading in series]
    assert len(series) == 19_226
    assert (times[0], times[-1]) == (
        datetime(2016, 2, 15, tzinfo=UTC),
        datetime(2017, 3, 22, tzinfo=UTC),
    )
    odd = {
        before: after - before for before, after in itertools.pairwise(times) if after - before != HALF_HOUR
    }
    # Two gaps, and one time that is there twice, with two values.
    assert odd == {
        datetime(2016, 6, 14, 13, tzinfo=UTC): timedelta(hours=1),
        datetime(2016, 7, 8, 1, 30, tzinfo=UTC): timedelta(hours=12),
        datetime(2017, 3, 21, 16, 30, tzinfo=UTC): timedelta(0),
    }
    assert (min(reading.temperature_c for reading in series)) == 3.612
    assert (max(reading.temperature_c for reading in series)) == 22.15


@pytest.mark.parametrize("sensor", sorted(SENSORS))
@pytest.mark.parametrize("count", [250, 1500])
def test_a_stretch_has_alerts_and_much_to_filter_out(sensor: str, count: int) -> None:
    taken = read_sensor(sensor)[:count]
    alerts = [is_alert(Received("", "", sensor, reading.temperature_c), Limits()) for reading in taken]
    assert 0.1 < sum(alerts) / count < 0.6
