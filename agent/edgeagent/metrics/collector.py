"""Prometheus families from the agent's state, made at scrape time (agent spec 6.2, rows X17, X18).

Names and labels are those of the reference, because collectors and dashboards query them. The library costs
memory, so this module is imported at the first scrape (:mod:`edgeagent.metrics.agent_metrics`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgeagent.metrics.families import Families
from edgeagent.metrics.resources import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeagent.metrics.agent_metrics import AgentMetrics
    from edgeagent.metrics.host import HostSample

_MODULE = ("module_name", "module_version")
_DISK = ("disk_name", "disk_filesystem", "disk_filetype")


class AgentCollector(Collector):
    """Reads the state whenever somebody asks."""

    def __init__(self, metrics: AgentMetrics) -> None:
        self._metrics = metrics
        self._make = Families(metrics.base)

    def collect(self) -> Iterator[Metric]:
        yield from self._availability()
        yield from self._work()
        yield from self._host()
        yield from self._modules()
        yield from self._metadata()
        yield self._methods()
        yield from self._own()

    def _availability(self) -> Iterator[Metric]:
        modules = sorted(self._metrics.availability.modules.items())
        yield self._make.modules(
            "total_time_running_correctly_seconds",
            "Time that a module ran while it should",
            ((name, uptime.running_s) for name, uptime in modules),
        )
        yield self._make.modules(
            "total_time_expected_running_seconds",
            "Time that a module should have run",
            ((name, uptime.expected_s) for name, uptime in modules),
        )

    def _work(self) -> Iterator[Metric]:
        totals, now_s = self._metrics.totals, self._metrics.now_s()
        syncs = (
            ("unsuccessful_iothub_syncs", "Reads and reports of the twin that failed", totals.syncs_failed),
            ("iothub_syncs", "Reads and reports of the twin", totals.syncs),
        )
        for name, about, number in syncs:
            yield self._make.counter(name, about, (), [((), number)], telemetry=True)
        yield self._make.summary(
            "deployment_time_seconds",
            "Time until nothing was left to do",
            [({}, totals.deployment_s)],
            now_s,
        )
        for name, about, counter in (
            ("module_start", "Containers made and started", totals.starts),
            ("module_stop", "Containers stopped and removed", totals.stops),
            ("module_prepare_update", "Images fetched", totals.pulls),
        ):
            yield self._make.counter(name, about, _MODULE, counter.rows(), telemetry=True)
        rows = [({"command": command}, summary) for command, summary in totals.latency.items()]
        yield self._make.summary("command_latency_seconds", "Duration of steps", rows, now_s)

    def _host(self) -> Iterator[Metric]:
        up_s = self._metrics.now_s() - self._metrics.began_s
        yield self._make.gauge(
            "iotedged_uptime_seconds", "Time since the agent began", (), [((), up_s)], telemetry=True
        )
        host = self._metrics.resources.host
        if host is None:
            return
        yield self._make.gauge(
            "host_uptime_seconds",
            "Time since the machine began",
            (),
            [((), host.uptime_s)],
            telemetry=True,
        )
        yield from self._disks(host)

    def _disks(self, host: HostSample) -> Iterator[Metric]:
        rows = [((disk.name, disk.filesystem, disk.kind), disk) for disk in host.disks]
        available = ((labels, disk.available_bytes) for labels, disk in rows)
        total = ((labels, disk.total_bytes) for labels, disk in rows)
        yield self._make.gauge("available_disk_space_bytes", "Free space", _DISK, available, telemetry=True)
        yield self._make.gauge("total_disk_space_bytes", "Size of the disk", _DISK, total, telemetry=True)

    def _modules(self) -> Iterator[Metric]:
        resources = self._metrics.resources
        stats = [(name, sample.stats) for name, sample in sorted(resources.modules.items())]
        host = resources.host
        used = [(HOST, host.memory_used_bytes)] if host else []
        total = [(HOST, host.memory_total_bytes)] if host else []
        yield self._make.modules(
            "used_memory_bytes", "Memory in use", [*used, *((name, one.memory_bytes) for name, one in stats)]
        )
        yield self._make.modules(
            "total_memory_bytes",
            "Memory of the machine, or the limit of the module",
            [*total, *((name, one.memory_limit_bytes) for name, one in stats)],
        )
        cpu = [({"module_name": name}, summary) for name, summary in sorted(resources.cpu_percent.items())]
        yield self._make.summary("used_cpu_percent", "Share of all processors", cpu, self._metrics.now_s())
        for name, about, rows in (
            ("created_pids_total", "Processes", [(n, one.processes) for n, one in stats]),
            ("total_network_in_bytes", "Bytes received", [(n, one.received_bytes) for n, one in stats]),
            ("total_network_out_bytes", "Bytes sent", [(n, one.sent_bytes) for n, one in stats]),
            ("total_disk_read_bytes", "Bytes read", [(n, one.read_bytes) for n, one in stats]),
            ("total_disk_write_bytes", "Bytes written", [(n, one.written_bytes) for n, one in stats]),
        ):
            yield self._never_telemetry(name, about, rows)

    def _never_telemetry(self, name: str, about: str, rows: Iterable[tuple[str, float]]) -> Metric:
        labelled = (((module,), number) for module, number in rows)
        return self._make.gauge(name, about, ("module_name",), labelled, telemetry=False)

    def _metadata(self) -> Iterator[Metric]:
        labels = ("edge_agent_version", "experimental_features", "host_information")
        metadata = self._metrics.metadata
        values = (metadata.version, metadata.experimental_features, metadata.host_information)
        yield self._make.gauge("metadata", "The agent and its machine", labels, [(values, 0)], telemetry=True)

    def _methods(self) -> Metric:
        """Without prefix and first labels, as in the reference."""
        family = Metric("edgeagent_direct_method_invocations_count", "Direct methods called", "counter")
        for (name,), number in self._metrics.totals.methods.rows():
            family.add_sample(family.name, {"method_name": name}, number)
        return family

    def _own(self) -> Iterator[Metric]:
        """What the reference does not have; never telemetry."""
        yield self._make.counter(
            "module_restarts",
            "Restarts after an end",
            ("module_name",),
            self._metrics.totals.restarts.rows(),
            telemetry=False,
        )
        events = [((name,), number) for name, number in sorted(self._metrics.quality_events().items())]
        about = "What became of runtime-quality telemetry"
        yield self._make.counter("quality_telemetry_events", about, ("event",), events, telemetry=False)
