"""The binary form of the telemetry message (agent spec 6.4, row X20). Pure.

Repeated: length and name, length and tags as JSON, count, and so many pairs of .NET ticks and value. All
numbers are little-endian; lengths are in bytes.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from edgeagent.quality.samples import Labels, Sample, condensed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENT_TYPE = "application/x-azureiot-edgeruntimediagnostics"
MESSAGE_BYTES_MAX = 255_000

_TICKS_1970 = 621_355_968_000_000_000
_TICKS_OF_MS = 10_000

Series = tuple[str, Labels, list[tuple[int, float]]]


def messages_of(samples: Iterable[Sample]) -> Iterator[bytes]:
    """Messages of at most 255,000 bytes with all samples, each series condensed."""
    by_series: defaultdict[tuple[str, Labels], list[tuple[int, float]]] = defaultdict(list)
    for sample in samples:
        by_series[sample.name, sample.labels].append((sample.at_ms, sample.value))
    series = [(name, labels, condensed(sorted(values))) for (name, labels), values in by_series.items()]
    yield from _fitting(series)


def _fitting(series: list[Series]) -> Iterator[bytes]:
    if not series:
        return
    message = b"".join(map(encode_series, series))
    if len(message) <= MESSAGE_BYTES_MAX:
        yield message
        return
    for half in _halves(series):
        yield from _fitting(half)


def _halves(series: list[Series]) -> Iterator[list[Series]]:
    if len(series) > 1:
        middle = len(series) // 2
        yield series[:middle]
        yield series[middle:]
        return
    name, labels, values = series[0]
    middle = len(values) // 2
    if middle:
        yield [(name, labels, values[:middle])]
        yield [(name, labels, values[middle:])]


def encode_series(series: Series) -> bytes:
    """One series: its name, its labels and its values."""
    name, labels, values = series
    tags = json.dumps(dict(labels), separators=(",", ":"), ensure_ascii=False).encode()
    encoded = name.encode()
    head = struct.pack(
        f"<i{len(encoded)}si{len(tags)}si", len(encoded), encoded, len(tags), tags, len(values)
    )
    return head + b"".join(struct.pack("<qd", ticks(moment), value) for moment, value in values)


def ticks(at_ms: int) -> int:
    """.NET ticks of a moment: tenths of microseconds since the year 1."""
    return _TICKS_1970 + at_ms * _TICKS_OF_MS
