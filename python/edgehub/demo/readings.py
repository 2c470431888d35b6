"""The temperature series that the devices replay, read from the files that `vega_datasets` ships.

The package is found, not imported: importing it needs pandas. Origin and licence: `docs/demo.md`.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgehub.demo.errors import MissingPackageError, ReadingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGE: Final = "vega_datasets"
DISTRIBUTION: Final = "vega-datasets"
FILES: Final = {"seattle": "seattle-temps.csv", "sanfrancisco": "sf-temps.csv"}
"""Station, which is also the device id, and its file."""
FIRST_DAY: Final = datetime(2010, 7, 1)
"""Replay starts in summer: there the alert threshold divides every day in two."""
READINGS_MAX: Final = 200_000
"""Rows of one file; a larger file is refused. A year has 8760 hours."""
_DATE_FORMATS: Final = ("%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Reading:
    """One hour of one station.

    :param hour: local time of the station.
    """

    hour: datetime
    temperature_f: float


def data_folder() -> Path:
    """The folder with the data files.

    :raises MissingPackageError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(DISTRIBUTION)
    return Path(next(iter(spec.submodule_search_locations))) / "_data"


def read_station(station: str) -> list[Reading]:
    """The series of a station of `FILES`, in the order of the file.

    :raises MissingPackageError: the package is not installed.
    :raises ReadingsError: the file is missing, or has content that cannot be read.
    """
    path = data_folder() / FILES[station]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadingsError(f"{path}: cannot be read: {error}") from None
    return parse_readings(text, str(path))


def parse_readings(text: str, source: str) -> list[Reading]:
    """Reads CSV with the columns `date` and `temp`, in any order.

    :param source: name for messages.
    :raises ReadingsError: names the line; also when there is no reading at all.
    """
    rows = csv.DictReader(io.StringIO(text))
    if rows.fieldnames is None or not {"date", "temp"} <= set(rows.fieldnames):
        raise ReadingsError(f"{source}: line 1: expected the columns date and temp, found {rows.fieldnames}")
    readings: list[Reading] = []
    for row in rows:
        if len(readings) == READINGS_MAX:
            raise ReadingsError(f"{source}: line {rows.line_num}: more than {READINGS_MAX} readings")
        readings.append(_reading(row["date"], row["temp"], f"{source}: line {rows.line_num}"))
    if not readings:
        raise ReadingsError(f"{source}: no readings after the header")
    return readings


def replay(readings: Sequence[Reading], first: datetime = FIRST_DAY) -> Iterator[Reading]:
    """The series for ever, from the first reading at or after `first`, wrapping around at its end.

    :param readings: not empty.
    """
    start = next((at for at, reading in enumerate(readings) if reading.hour >= first), 0)
    return itertools.chain(readings[start:], itertools.cycle(readings))


def _reading(date: str | None, temp: str | None, where: str) -> Reading:
    hour = _hour(date or "")
    if hour is None:
        raise ReadingsError(f"{where}: expected a date like 2010/07/01 13:00, found {date!r}")
    try:
        temperature_f = float(temp or "")
    except ValueError:
        temperature_f = math.nan
    if not math.isfinite(temperature_f):
        raise ReadingsError(f"{where}: expected a temperature in degrees Fahrenheit, found {temp!r}")
    return Reading(hour, temperature_f)


def _hour(text: str) -> datetime | None:
    for date_format in _DATE_FORMATS:
        try:
            return datetime.strptime(text, date_format)
        except ValueError:
            continue
    return None
