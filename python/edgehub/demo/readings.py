"""The sea temperatures that the devices replay: what one buoy measured, read from the file that
`bokeh_sampledata` ships.

The package is found, not imported: importing it needs pandas. Origin and licence: `docs/demo.md`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import itertools
import math
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgehub.demo.errors import MissingPackageError, ReadingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGE: Final = "bokeh_sampledata"
REQUIREMENT: Final = "bokeh-sampledata==2026.1"
FILE: Final = "sea_surface_temperature.csv.gz"
READINGS_MAX: Final = 200_000
"""Readings of the file; a longer one is refused. Half-hourly readings of a year are 17,520."""
TEXT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Size of the unpacked file; a larger one is refused."""
_TIME: Final = "time (UTC)"
_TEMPERATURE: Final = "temperature (celsius)"


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement.

    :param time: when it was taken, in UTC.
    """

    time: datetime
    temperature_c: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the series: the readings from `first` on and before `end`."""

    first: datetime
    end: datetime


SENSORS: Final = {
    "b01summer": Stretch(datetime(2016, 7, 16, tzinfo=UTC), datetime(2016, 10, 1, tzinfo=UTC)),
    "b01winter": Stretch(datetime(2017, 2, 15, tzinfo=UTC), datetime(2017, 3, 22, tzinfo=UTC)),
}
"""Device ids, and what each replays. Each begins where the water crosses a limit of the filter often, so that
a short run too has readings of both kinds."""


def data_file() -> Path:
    """Where the package keeps the file.

    :raises MissingPackageError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            REQUIREMENT.partition("==")[0], f"its data, pip install --no-deps {REQUIREMENT}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "_data" / FILE


def read_sensor(sensor: str) -> list[Reading]:
    """What a sensor of `SENSORS` replays, in the order of the file.

    :raises MissingPackageError: the package is not installed.
    :raises ReadingsError: the file is missing, has content that cannot be read, or nothing of that time.
    """
    path, stretch = data_file(), SENSORS[sensor]
    found = [
        reading
        for reading in parse_readings(unpack(path), str(path))
        if stretch.first <= reading.time < stretch.end
    ]
    if not found:
        raise ReadingsError(f"{path}: no readings from {stretch.first} to {stretch.end}")
    return found


def unpack(path: Path) -> str:
    """The text of a gzip file.

    :raises ReadingsError: it is missing, damaged, no UTF-8, or larger than `TEXT_BYTES_MAX`.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(TEXT_BYTES_MAX + 1)
        if len(content) > TEXT_BYTES_MAX:
            raise ReadingsError(f"{path}: more than {TEXT_BYTES_MAX} bytes of text")
        return content.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ReadingsError(f"{path}: cannot be read: {error}") from None


def parse_readings(text: str, source: str) -> list[Reading]:
    """Reads CSV with the columns `time (UTC)` and `temperature (celsius)`, in any order.

    :param source: name for messages.
    :raises ReadingsError: names the line; also when there is no reading at all.
    """
    rows = csv.DictReader(io.StringIO(text))
    if rows.fieldnames is None or not {_TIME, _TEMPERATURE} <= set(rows.fieldnames):
        raise ReadingsError(
            f"{source}: line 1: expected the columns {_TIME} and {_TEMPERATURE}, found {rows.fieldnames}"
        )
    readings: list[Reading] = []
    for row in rows:
        if len(readings) == READINGS_MAX:
            raise ReadingsError(f"{source}: line {rows.line_num}: more than {READINGS_MAX} readings")
        readings.append(_reading(row[_TIME], row[_TEMPERATURE], f"{source}: line {rows.line_num}"))
    if not readings:
        raise ReadingsError(f"{source}: no readings after the header")
    return readings


def replay(readings: Sequence[Reading], skip: int = 0) -> Iterator[Reading]:
    """The readings for ever, from the first again after the last.

    :param readings: not empty.
    :param skip: readings that were replayed before.
    """
    return itertools.islice(itertools.cycle(readings), skip % len(readings), None)


def _reading(time: str | None, temperature: str | None, where: str) -> Reading:
    try:
        temperature_c = float(temperature or "")
    except ValueError:
        temperature_c = math.nan
    if not math.isfinite(temperature_c):
        raise ReadingsError(f"{where}: expected a temperature in degrees Celsius, found {temperature!r}")
    return Reading(_utc(time, where), temperature_c)


def _utc(text: str | None, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        time = datetime.min
    if time.tzinfo is None or time.utcoffset():
        raise ReadingsError(f"{where}: expected a time like 2016-07-16T13:30:00Z, found {text!r}")
    return time
