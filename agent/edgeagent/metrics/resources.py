"""What the machine and the modules take, as it was sampled last (agent spec 3.9, 6.2). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.metrics.host import HostSample, host_cpu_percent
from edgeagent.metrics.summary import Summary
from edgeagent.runtime.stats import ContainerStats, cpu_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "host"
"""The machine, as if it were a module."""


@dataclass(frozen=True, slots=True)
class ModuleSample:
    """:param container_id: shares of the processors are of two samples of the same container."""

    container_id: str
    stats: ContainerStats


class Resources:
    """:param window_s: `MetricsHistogramMaxAge`.

    :ivar host: None before the first sample.
    :ivar modules: by name; those that do not run are not in it.
    :ivar cpu_percent: by name, :data:`HOST` among them.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.host: HostSample | None = None
        self.modules: dict[str, ModuleSample] = {}
        self.cpu_percent: dict[str, Summary] = {}

    def take_host(self, sample: HostSample, now_s: float) -> None:
        """A sample of the machine; a share of nought is not counted, as in the reference."""
        before, self.host = self.host, sample
        percent = host_cpu_percent(before, sample) if before is not None else None
        if percent:
            self._observe(HOST, percent, now_s)

    def take_modules(self, samples: Mapping[str, ModuleSample], now_s: float) -> None:
        """Samples of all modules that run."""
        before, self.modules = self.modules, dict(samples)
        for name, sample in samples.items():
            known = before.get(name)
            if known is None or known.container_id != sample.container_id:
                continue
            percent = cpu_percent(known.stats, sample.stats)
            if percent is not None:
                self._observe(name, percent, now_s)

    def forget_others(self, names: frozenset[str]) -> None:
        """Only these modules are still there."""
        for name in [name for name in self.cpu_percent if name not in names and name != HOST]:
            del self.cpu_percent[name]

    def _observe(self, name: str, percent: float, now_s: float) -> None:
        self.cpu_percent.setdefault(name, Summary(self._window_s)).observe(percent, now_s)
