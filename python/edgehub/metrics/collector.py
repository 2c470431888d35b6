"""Prometheus families from the totals, made at scrape time (settings spec 6).

Names and labels are those of the reference, because the metrics collector and dashboards query them.
Importing `prometheus_client` costs several megabytes, so this module is imported at the first scrape.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgehub.metrics.core_totals import CoreTotals
    from edgehub.metrics.totals import HubTotals, Summary

BASE_LABELS = ("iothub", "edge_device", "instance_number")
TELEMETRY_LABEL = "ms_telemetry"

_NAME = re.compile(r"[^a-zA-Z0-9_]")


class HubCollector(Collector):
    """Reads the totals whenever Prometheus asks.

    :param base: values of the base labels: hub host, device id, and a number of this process.
    :param core: totals of the core.
    :param connected: clients connected now.
    """

    def __init__(
        self,
        base: tuple[str, str, str],
        core: Callable[[], CoreTotals],
        totals: HubTotals,
        connected: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._base = base
        self._core = core
        self._totals = totals
        self._connected = connected
        self._monotonic_s = monotonic_s

    def collect(self) -> Iterator[Metric]:
        core = self._core()
        yield from self._messages(core)
        yield from self._clients()
        yield from self._link()
        yield from self._twins()
        yield from self._methods()
        yield from self._own(core)

    def _messages(self, core: CoreTotals) -> Iterator[Metric]:
        yield self._counter(
            "messages_received", "Messages received from clients", ("route_output", "id"),
            ((output, sender, n) for sender, output, n in core.received), telemetry=True,
        )  # fmt: skip
        yield self._counter(
            "messages_sent", "Messages delivered",
            ("from", "to", "from_route_output", "to_route_input", "priority"),
            ((sender, to, output, into, priority, n) for sender, to, output, into, priority, n in core.sent),
            telemetry=True,
        )  # fmt: skip
        yield self._counter(
            "messages_dropped", "Messages dropped", ("reason", "from", "from_route_output"), core.dropped,
            telemetry=True,
        )  # fmt: skip
        yield self._counter(
            "messages_unack", "Messages that could not be stored", ("reason", "from", "from_route_output"),
            core.unack, telemetry=True,
        )  # fmt: skip
        yield self._gauge(
            "queue_length", "Messages waiting", ("endpoint", "priority"), core.queues, telemetry=True
        )

    def _clients(self) -> Iterator[Metric]:
        totals = self._totals
        failed = ((claimed, "not_authenticated", n) for claimed, n in totals.connect_failed.items())
        yield self._counter(
            "client_connect_failed", "Refused clients", ("id", "reason"), failed, telemetry=True
        )
        success, disconnect = totals.connect_success.items(), totals.disconnect.items()
        yield self._counter("client_connect_success", "Accepted clients", ("id",), success)
        yield self._counter("client_disconnect", "Clients that left", ("id",), disconnect)
        yield self._gauge("connected_clients", "Clients connected now", (), [(self._connected(),)])

    def _link(self) -> Iterator[Metric]:
        hub_id = f"{self._base[1]}/$edgeHub"
        offline = [(hub_id, self._totals.offline_count)] if self._totals.offline_count else []
        yield self._counter(
            "offline_count", "Times the parent hub was lost", ("id",), offline, telemetry=True
        )
        yield self._summary(
            "offline_duration_seconds", "Time without the parent hub",
            [({"id": hub_id}, self._totals.offline_duration_s)], telemetry=True,
        )  # fmt: skip

    def _twins(self) -> Iterator[Metric]:
        twins = self._totals.twins
        for name, doc, label, counters in (
            ("gettwin", "Twins read by clients", "source", twins.reads),
            ("reported_properties", "Reported properties of clients", "target", twins.reports),
        ):
            rows = ((place, *row) for place, counter in counters.items() for row in counter.items())
            yield self._counter(name, doc, (label, "id"), rows, telemetry=True)
        hub_id = f"{self._base[1]}/$edgeHub"
        for name, doc, label, summaries in (
            ("gettwin_duration_seconds", "Time to read a twin", "source", twins.read_s),
            (
                "reported_properties_update_duration_seconds", "Time until stored or sent", "target",
                twins.report_s,
            ),
        ):  # fmt: skip
            labels = {place: {label: place, "id": hub_id} for place in summaries}
            yield self._summary(name, doc, [(labels[place], summary) for place, summary in summaries.items()])
        refused = twins.reports_refused.items()
        yield self._counter("reported_properties_refused", "Refused by the parent hub", ("id",), refused)

    def _methods(self) -> Iterator[Metric]:
        methods = self._totals.methods
        rows = ((caller, target, n) for (caller, target), n in sorted(methods.calls.items()))
        yield self._counter("direct_methods", "Method calls", ("from", "to"), rows, telemetry=True)
        labels = {"from": "all", "to": "all"}
        name, doc = "direct_method_duration_seconds", "Time of a method call"
        yield self._summary(name, doc, [(labels, methods.call_s)])

    def _own(self, core: CoreTotals) -> Iterator[Metric]:
        """What the reference does not have."""
        yield self._counter("route_matches", "Messages that matched a route", ("route",), core.routes)
        yield self._counter(
            "queue_lost", "Messages lost by a queue", ("endpoint", "priority", "cause"), core.lost
        )
        yield from self._lag(core)
        for name, n in sorted(core.counters.items()):
            yield self._counter(f"core_{_NAME.sub('_', name)}", "Counter of the core", (), [(n,)])
        sources = (("connections", core.connections), ("store", core.store), ("memory", core.memory))
        for prefix, values in sources:
            for name, value in sorted(values.items()):
                yield self._gauge(
                    f"{prefix}_{_NAME.sub('_', name)}", f"State of the {prefix}", (), [(value,)]
                )

    def _lag(self, core: CoreTotals) -> Iterator[Metric]:
        labels = ("route", "endpoint", "priority")
        for at, name, doc in (
            (3, "messages", "Messages that wait for the consumer of a route"),
            (4, "bytes", "Bytes that wait for the consumer of a route"),
        ):
            yield self._gauge(f"route_lag_{name}", doc, labels, ((*row[:3], row[at]) for row in core.lag))
        ages = ((*row[:3], row[5] / 1000) for row in core.lag)
        yield self._gauge("route_lag_seconds", "How long the first of them has waited", labels, ages)

    def _counter(
        self,
        name: str,
        doc: str,
        labels: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        telemetry: bool = False,
    ) -> Metric:
        family = CounterMetricFamily(f"edgehub_{name}", doc, labels=self._label_names(labels, telemetry))
        return self._fill(family, rows, telemetry)

    def _gauge(
        self,
        name: str,
        doc: str,
        labels: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        telemetry: bool = False,
    ) -> Metric:
        family = GaugeMetricFamily(f"edgehub_{name}", doc, labels=self._label_names(labels, telemetry))
        return self._fill(family, rows, telemetry)

    def _fill(
        self,
        family: CounterMetricFamily | GaugeMetricFamily,
        rows: Iterable[Sequence[object]],
        telemetry: bool,
    ) -> Metric:
        extra = ("True",) if telemetry else ()
        for *values, number in rows:
            family.add_metric((*self._base, *map(str, values), *extra), float(str(number)))
        return family

    def _summary(
        self,
        name: str,
        doc: str,
        rows: Iterable[tuple[dict[str, str], Summary]],
        *,
        telemetry: bool = False,
    ) -> Metric:
        """Of those that have anything."""
        family = Metric(f"edgehub_{name}", doc, "summary")
        for own, summary in rows:
            if not summary.count:
                continue
            labels = {**dict(zip(BASE_LABELS, self._base, strict=True)), **own}
            if telemetry:
                labels[TELEMETRY_LABEL] = "True"
            for quantile, value in summary.quantiles(self._monotonic_s()):
                family.add_sample(family.name, {**labels, "quantile": str(quantile)}, value)
            family.add_sample(f"{family.name}_sum", labels, summary.sum)
            family.add_sample(f"{family.name}_count", labels, summary.count)
        return family

    def _label_names(self, labels: Sequence[str], telemetry: bool) -> tuple[str, ...]:
        return (*BASE_LABELS, *labels, *((TELEMETRY_LABEL,) if telemetry else ()))


def render(collector: HubCollector) -> bytes:
    """The exposition text, format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
