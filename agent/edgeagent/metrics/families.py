"""Metric families with the labels that all metrics of the agent have (agent spec 6.1). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from prometheus_client.metrics_core import Metric

from edgeagent.metrics.resources import HOST
from edgeagent.model.module import SYSTEM_MODULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeagent.metrics.agent_metrics import BaseLabels
    from edgeagent.metrics.summary import Summary

PREFIX = "edgeAgent_"
TELEMETRY_LABEL = "ms_telemetry"

Labels: TypeAlias = "Sequence[str]"


def module_telemetry(name: str) -> bool:
    """Whether a metric of a module is for telemetry: only those of system modules and the host (row X18)."""
    return name == HOST or name in SYSTEM_MODULES


class Families:
    """Makes families of one agent.

    Of every row the telemetry label is last: true for telemetry, or what a function of the first own label
    says.
    """

    def __init__(self, base: BaseLabels) -> None:
        self._base = base

    def gauge(
        self, name: str, about: str, labels: Labels, rows: Iterable[tuple[Labels, float]], telemetry: bool
    ) -> Metric:
        """Values, each with the values of its own labels."""
        family = Metric(PREFIX + name, about, "gauge")
        for values, number in rows:
            family.add_sample(family.name, self._labels(labels, values, telemetry), number)
        return family

    def counter(
        self, name: str, about: str, labels: Labels, rows: Iterable[tuple[Labels, float]], telemetry: bool
    ) -> Metric:
        """:param name: without `_total`."""
        family = Metric(PREFIX + name, about, "counter")
        for values, number in rows:
            family.add_sample(f"{family.name}_total", self._labels(labels, values, telemetry), number)
        return family

    def modules(self, name: str, about: str, rows: Iterable[tuple[str, float]]) -> Metric:
        """A gauge by module; telemetry of system modules and the host only."""
        family = Metric(PREFIX + name, about, "gauge")
        for module, number in rows:
            labels = self._labels(("module_name",), (module,), module_telemetry(module))
            family.add_sample(family.name, labels, number)
        return family

    def summary(
        self,
        name: str,
        about: str,
        rows: Iterable[tuple[dict[str, str], Summary]],
        now_s: float,
    ) -> Metric:
        """Of those that have anything. A module's is telemetry as above, every other one is."""
        family = Metric(PREFIX + name, about, "summary")
        for own, summary in rows:
            if not summary.count:
                continue
            telemetry = module_telemetry(own.get("module_name", HOST))
            labels = self._labels(tuple(own), tuple(own.values()), telemetry)
            for quantile, value in summary.quantiles(now_s):
                family.add_sample(family.name, {**labels, "quantile": str(quantile)}, value)
            family.add_sample(f"{family.name}_sum", labels, summary.sum)
            family.add_sample(f"{family.name}_count", labels, summary.count)
        return family

    def _labels(self, names: Labels, values: Labels, telemetry: bool) -> dict[str, str]:
        own = dict(zip(names, values, strict=True))
        return {**dict(self._base.items()), **own, TELEMETRY_LABEL: "True" if telemetry else "False"}
