"""Accounting by message id: what each process recorded, and what follows from it. Pure.

A *hop* is a promise and its keeping: one side was told that the messages are safe (they were
acknowledged), the other side wrote down what arrived. Three hops make the demo:

```
devices --(acknowledged)--> filter --(acknowledged, matched by WHERE)--> iothub
                               \\---(acknowledged summaries)------------> iothub
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from edgehub.demo.ids import SUMMARY_STREAM, split_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class HopCount:
    """The arithmetic of one hop, in messages.

    :param promised: acknowledged to the sender.
    :param unconfirmed: begun by the sender but never acknowledged; these may arrive or not.
    :param arrived: distinct messages that arrived.
    :param duplicates: further arrivals of the same messages.
    :param lost: promised but not arrived.
    :param unexpected: arrived although the sender never began them.
    :param reordered: first arrivals behind a later message of the same stream.
    """

    promised: int
    unconfirmed: int
    arrived: int
    duplicates: int
    lost: int
    unexpected: int
    reordered: int


def count_hop(begun: Iterable[str], promised: Iterable[str], arrivals: Sequence[str]) -> HopCount:
    """Compares the two sides of a hop.

    :param begun: ids that the sender began to send; those promised count as begun.
    :param promised: ids that were acknowledged to the sender.
    :param arrivals: ids in the order of arrival, repetitions included.
    """
    promised_ids = set(promised)
    begun_ids = set(begun) | promised_ids
    arrived_ids = set(arrivals)
    return HopCount(
        promised=len(promised_ids),
        unconfirmed=len(begun_ids - promised_ids),
        arrived=len(arrived_ids),
        duplicates=len(arrivals) - len(arrived_ids),
        lost=len(promised_ids - arrived_ids),
        unexpected=len(arrived_ids - begun_ids),
        reordered=count_reordered(arrivals),
    )


def count_reordered(arrivals: Iterable[str]) -> int:
    """First arrivals with a smaller number than one seen before in their stream.

    A repeated delivery is a duplicate, not a disorder. Texts that are no ids of the demo are left to
    `HopCount.unexpected`.
    """
    highest: dict[str, int] = {}
    seen: set[str] = set()
    reordered = 0
    for text in arrivals:
        parts = split_id(text)
        if parts is None or text in seen:
            continue
        seen.add(text)
        stream, number = parts
        reordered += number < highest.get(stream, 0)
        highest[stream] = max(number, highest.get(stream, 0))
    return reordered


@dataclass(slots=True)
class Evidence:
    """What the processes wrote down; lists of ids in the order of their writing.

    :param begun: devices: send begun.
    :param acked: devices: acknowledged by the hub.
    :param received: filter: arrived at its input.
    :param output_begun: filter: output begun; `alerts` among them have the property that the route asks for.
    :param output_acked: filter: output acknowledged by the hub.
    :param alerts: filter: outputs that the route to `$upstream` must take.
    :param delivered: iothub: telemetry, in the order of its log.
    """

    begun: list[str] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    output_begun: list[str] = field(default_factory=list)
    output_acked: list[str] = field(default_factory=list)
    alerts: set[str] = field(default_factory=set)
    delivered: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The account of one run.

    :param to_filter: devices to filter.
    :param in_filter: filter's input to its outputs.
    :param filtered_out: distinct outputs that `WHERE` kept from going upstream.
    :param alerts: filter to iothub, readings above the threshold.
    :param summaries: filter to iothub, summaries on the route with priority.
    """

    to_filter: HopCount
    in_filter: HopCount
    filtered_out: int
    alerts: HopCount
    summaries: HopCount

    @property
    def hops(self) -> tuple[HopCount, ...]:
        return (self.to_filter, self.in_filter, self.alerts, self.summaries)

    @property
    def sent(self) -> int:
        """Readings that the hub acknowledged to the devices."""
        return self.to_filter.promised

    @property
    def forwarded(self) -> int:
        """Messages that the hub acknowledged to the filter and had to bring to iothub."""
        return self.alerts.promised + self.summaries.promised

    @property
    def delivered(self) -> int:
        """Distinct messages that reached iothub."""
        return self.alerts.arrived + self.summaries.arrived

    @property
    def duplicates(self) -> int:
        """Repeated deliveries, at the filter and at iothub."""
        return sum(hop.duplicates for hop in self.hops)

    @property
    def lost(self) -> int:
        return sum(hop.lost for hop in self.hops)

    @property
    def reordered(self) -> int:
        return sum(hop.reordered for hop in self.hops)

    @property
    def unexpected(self) -> int:
        return sum(hop.unexpected for hop in self.hops)

    @property
    def ok(self) -> bool:
        """Nothing lost, reordered or out of nowhere, and there was something to lose."""
        return self.sent > 0 and self.delivered > 0 and not (self.lost or self.reordered or self.unexpected)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: the totals, and every hop."""
        totals = ("sent", "filtered_out", "forwarded", "delivered", "duplicates", "lost", "reordered")
        return {
            "ok": self.ok,
            **{name: getattr(self, name) for name in totals},
            "received_by_filter": self.to_filter.arrived,
            "unexpected": self.unexpected,
            "hops": {
                "devices_to_filter": asdict(self.to_filter),
                "inside_filter": asdict(self.in_filter),
                "alerts_to_iothub": asdict(self.alerts),
                "summaries_to_iothub": asdict(self.summaries),
            },
        }


def build_ledger(evidence: Evidence) -> Ledger:
    """The account that follows from the evidence."""
    acked = set(evidence.output_acked)
    summaries = {text for text in {*evidence.output_begun, *acked, *evidence.delivered} if is_summary(text)}
    readings = acked - summaries
    # A reading that came twice goes out twice; inside the filter that is one message.
    passed_on = [text for text in dict.fromkeys(evidence.output_begun) if text in readings]
    begun_summaries = summaries.intersection(evidence.output_begun)
    return Ledger(
        to_filter=count_hop(evidence.begun, evidence.acked, evidence.received),
        in_filter=count_hop(evidence.received, evidence.received, passed_on),
        filtered_out=len(readings - evidence.alerts),
        alerts=count_hop(
            evidence.alerts.intersection(evidence.output_begun),
            evidence.alerts & readings,
            [text for text in evidence.delivered if text not in summaries],
        ),
        summaries=count_hop(
            begun_summaries,
            summaries & acked,
            [text for text in evidence.delivered if text in summaries],
        ),
    )


def is_summary(text: str) -> bool:
    """Whether an id is of the filter's summaries."""
    parts = split_id(text)
    return parts is not None and parts[0] == SUMMARY_STREAM
