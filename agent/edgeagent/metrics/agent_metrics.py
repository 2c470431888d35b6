"""Everything that is known for metrics, in one place, and the page that is made of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgeagent.metrics.availability import Availability
from edgeagent.metrics.health import Health
from edgeagent.metrics.resources import Resources
from edgeagent.metrics.totals import AgentTotals
from edgeagent.model.current import RuntimeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeagent.metrics.collector import AgentCollector
    from edgeagent.reconcile.ports import Snapshot
    from edgeagent.runtime.system import SystemInfo

_UP = (RuntimeStatus.RUNNING, RuntimeStatus.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class BaseLabels:
    """First labels of every metric.

    :param iothub: host name of the hub.
    :param instance_number: another one with each start of the process.
    """

    iothub: str
    edge_device: str
    instance_number: str

    def items(self) -> tuple[tuple[str, str], ...]:
        """Names and values in their order."""
        return (
            ("iothub", self.iothub),
            ("edge_device", self.edge_device),
            ("instance_number", self.instance_number),
        )


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of metric `metadata`.

    :param experimental_features: as JSON; this agent has none.
    :param host_information: of the machine, as JSON.
    """

    version: str = ""
    experimental_features: str = "{}"
    host_information: str = "{}"


def metadata_of(version: str, info: SystemInfo) -> Metadata:
    """:param version: of the agent.

    :param info: what the engine says of the machine; set :attr:`AgentMetrics.metadata` when it is known.
    """
    host = {
        "kernel": info.kernel,
        "architecture": info.architecture,
        "server_version": info.server_version,
        "kernel_version": info.kernel_version,
        "operating_system": info.operating_system,
        "cpus": info.processors,
        "total_memory": info.memory_bytes,
    }
    return Metadata(version, host_information=msgspec.json.encode(host).decode())


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """:param window_s: `MetricsHistogramMaxAge`.

    :param downtime_s: how long the agent was away, see :class:`~edgeagent.metrics.checkpoint.Checkpoint`.
    """

    iothub: str
    device_id: str
    window_s: float = 3600.0
    downtime_s: float = 0.0
    metadata: Metadata = Metadata()


def _no_events() -> Mapping[str, int]:
    return {}


class AgentMetrics:
    """State for metrics; takes the snapshots of the loop like a report (:meth:`publish`).

    :param now_s: a clock that only goes forward.
    :ivar base: first labels of every metric.
    :ivar metadata: of metric `metadata`; may be set later.
    :ivar totals: an observer of steps, see :class:`~edgeagent.executor.ports.StepObserver`.
    :ivar quality_events: what became of telemetry, by event; set by whoever sends it.
    """

    def __init__(self, settings: MetricsSettings, now_s: Callable[[], float] = time.monotonic) -> None:
        self._collector: AgentCollector | None = None
        self._running: Mapping[str, str] = {}
        self.base = BaseLabels(settings.iothub, settings.device_id, str(uuid.uuid4()))
        self.now_s = now_s
        self.began_s = now_s()
        self.metadata = settings.metadata
        self.totals = AgentTotals(settings.window_s, now_s)
        self.availability = Availability(settings.downtime_s)
        self.resources = Resources(settings.window_s)
        self.health = Health()
        self.quality_events: Callable[[], Mapping[str, int]] = _no_events

    def publish(self, snapshot: Snapshot) -> None:
        """The state after one round."""
        now_s, current = self.now_s(), snapshot.current
        self.health.round_ended(now_s, engine_answers=current is not None)
        self.totals.deployment(snapshot.deployment)
        self.availability.note(snapshot.deployment, current, now_s)
        if current is not None:
            self._running = {
                name: module.container_id for name, module in current.items() if module.status in _UP
            }
            self.resources.forget_others(frozenset(current))

    def running(self) -> Mapping[str, str]:
        """Names of the modules that run, with the ids of their containers."""
        return self._running

    def healthz(self) -> tuple[int, dict[str, str]]:
        """HTTP status and JSON body of `/healthz`."""
        return self.health.answer(self.now_s())

    def render(self) -> bytes:
        """The page of `/metrics`. Prometheus' library is imported with the first one, as it costs memory
        that an agent nobody scrapes does not need."""
        from edgeagent.metrics.collector import AgentCollector  # noqa: PLC0415 - see above
        from edgeagent.metrics.exposition import text_of  # noqa: PLC0415 - see above

        if self._collector is None:
            self._collector = AgentCollector(self)
        return text_of(self._collector.collect())
