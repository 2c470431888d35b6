"""The binary form of the telemetry message (agent spec 6.4, row X20). Pure.

Repeated: length and name, length and tags as JSON, count, and so many pairs of .NET ticks and value. All
numbers are little-endian; lengths are in bytes.
"""

from __future__ import annotations

import json
import logging
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from edgeagent.metrics.ticks import ticks
from edgeagent.quality.samples import Labels, Sample, condensed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CONTENT_TYPE = "application/x-azureiot-edgeruntimediagnostics"
MESSAGE_BYTES_MAX = 255_000
NAME_SHOWN_CHARS_MAX = 100

_log = logging.getLogger(__name__)

Series = tuple[str, Labels, list[tuple[int, float]]]


def messages_of(samples: Iterable[Sample], dropped: Callable[[str], None]) -> Iterator[bytes]:
    """Messages of at most 255,000 bytes with all samples, each series condensed.

    :param dropped: told the name of a metric of which one value alone is longer than a message may be, as its
        labels are; it is left out.
    """
    by_series: defaultdict[tuple[str, Labels], list[tuple[int, float]]] = defaultdict(list)
    for sample in samples:
        by_series[sample.name, sample.labels].append((sample.at_ms, sample.value))
    series = [(name, labels, condensed(sorted(values))) for (name, labels), values in by_series.items()]
    yield from _fitting(series, dropped)


def _fitting(series: list[Series], dropped: Callable[[str], None]) -> Iterator[bytes]:
    if not series:
        return
    message = b"".join(map(encode_series, series))
    if len(message) <= MESSAGE_BYTES_MAX:
        yield message
        return
    halves = _halves(series)
    if not halves:
        name = series[0][0]
        _log.warning("a value of metric %s is left out: %d bytes", name[:NAME_SHOWN_CHARS_MAX], len(message))
        dropped(name)
    for half in halves:
        yield from _fitting(half, dropped)


def _halves(series: list[Series]) -> tuple[list[Series], ...]:
    """Two halves; none of a single value."""
    if len(series) > 1:
        middle = len(series) // 2
        return series[:middle], series[middle:]
    name, labels, values = series[0]
    middle = len(values) // 2
    return ([(name, labels, values[:middle])], [(name, labels, values[middle:])]) if middle else ()


def encode_series(series: Series) -> bytes:
    """One series: its name, its labels and its values."""
    name, labels, values = series
    tags = json.dumps(dict(labels), separators=(",", ":"), ensure_ascii=False).encode()
    encoded = name.encode()
    head = struct.pack(
        f"<i{len(encoded)}si{len(tags)}si", len(encoded), encoded, len(tags), tags, len(values)
    )
    return head + b"".join(struct.pack("<qd", ticks(moment), value) for moment, value in values)
