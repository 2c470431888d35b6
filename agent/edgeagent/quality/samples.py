"""From scraped metrics to anonymous samples (agent spec 6.4, row X19). Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Labels: TypeAlias = tuple[tuple[str, str], ...]

SAMPLES_MAX = 20_000
"""Of one scrape; what is beyond is left out, with a log line of the caller."""

TELEMETRY_LABEL = "ms_telemetry"
_STRIPPED = (TELEMETRY_LABEL, "iothub", "edge_device")
_QUANTILES_DROPPED = ("0.1", "0.5", "0.99")
_ALWAYS_HASHED = ("to", "from", "to_route_input", "from_route_output")

_SUM, _AVERAGE = "sum", "average"
_AGGREGATED: dict[str, tuple[tuple[str, ...], str]] = {
    "edgehub_gettwin_total": (("id",), _SUM),
    "edgehub_client_connect_failed_total": (("id",), _SUM),
    "edgehub_messages_received_total": (("route_output", "id"), _SUM),
    "edgehub_messages_sent_total": (("from", "to", "from_route_output", "to_route_input"), _SUM),
    "edgehub_message_size_bytes": (("id",), _AVERAGE),
    "edgehub_message_size_bytes_sum": (("id",), _AVERAGE),
    "edgehub_message_size_bytes_count": (("id",), _AVERAGE),
    "edgehub_message_process_duration_seconds": (("from", "to"), _AVERAGE),
    "edgehub_message_process_duration_seconds_sum": (("from", "to"), _AVERAGE),
    "edgehub_message_process_duration_seconds_count": (("from", "to"), _AVERAGE),
    "edgehub_direct_methods_total": (("from", "to"), _SUM),
    "edgehub_queue_length": (("endpoint",), _SUM),
    "edgehub_messages_dropped_total": (("from", "from_route_output"), _SUM),
    "edgehub_messages_unack_total": (("from", "from_route_output"), _SUM),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series.

    :param labels: sorted by name.
    :param at_ms: UTC since 1970.
    """

    name: str
    labels: Labels
    value: float
    at_ms: int


@dataclass(slots=True)
class _Group:
    """Samples that become one."""

    total: float = 0.0
    count: int = 0
    at_ms: int = 0


def anonymised(samples: Iterable[Sample]) -> list[Sample]:
    """What may leave the device: chosen, stripped, hashed and summed up."""
    return list(_aggregated(_hashed(sample) for sample in samples if _is_chosen(sample)))


def _is_chosen(sample: Sample) -> bool:
    labels = dict(sample.labels)
    return labels.get(TELEMETRY_LABEL) == "True" and labels.get("quantile") not in _QUANTILES_DROPPED


def _hashed(sample: Sample) -> Sample:
    # Names and values come again and again: interned, a scrape takes a third of the memory.
    labels = tuple(
        (intern(name), intern(_label(name, value))) for name, value in sample.labels if name not in _STRIPPED
    )
    return Sample(intern(sample.name), labels, sample.value, sample.at_ms)


def _label(name: str, value: str) -> str:
    if name == "id":
        return _hashed_id(value)
    if name == "module_name":
        return value if value.startswith("$") else hashed(value)
    return hashed(value) if name in _ALWAYS_HASHED else value


def _hashed_id(value: str) -> str:
    """`device/module`: the device's name goes, the module's is hashed, but for system modules."""
    _, slash, module = value.partition("/")
    if not slash:
        return "device"
    return f"device/{module if module.startswith('$') else hashed(module)}"


def hashed(text: str) -> str:
    """SHA-256 as base64."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def sorted_labels(labels: Mapping[str, str]) -> Labels:
    """Labels in the order of their names."""
    return tuple(sorted(labels.items()))


def _aggregated(samples: Iterable[Sample]) -> Iterator[Sample]:
    groups: dict[tuple[str, Labels], _Group] = {}
    for sample in samples:
        collapsed, _ = _AGGREGATED.get(sample.name, ((), _SUM))
        labels = tuple(label for label in sample.labels if label[0] not in collapsed)
        group = groups.setdefault((sample.name, labels), _Group())
        group.total += sample.value
        group.count += 1
        group.at_ms = sample.at_ms
    for (name, labels), group in groups.items():
        _, operation = _AGGREGATED.get(name, ((), _SUM))
        value = group.total / group.count if operation == _AVERAGE else group.total
        yield Sample(name, labels, value, group.at_ms)


def condensed(series: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Of three and more equal values in a row the first and the last (row X21)."""
    kept: list[tuple[int, float]] = []
    for at, (moment, value) in enumerate(series):
        same_before = at > 0 and series[at - 1][1] == value
        same_after = at + 1 < len(series) and series[at + 1][1] == value
        if not (same_before and same_after):
            kept.append((moment, value))
    return kept
