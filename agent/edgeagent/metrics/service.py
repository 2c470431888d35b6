"""All that runs for metrics and telemetry, put together from the settings."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeagent.metrics.agent_metrics import AgentMetrics, Metadata, MetricsSettings
from edgeagent.metrics.checkpoint import Checkpoint
from edgeagent.metrics.errors import MetricsListenError
from edgeagent.metrics.sampler import ResourceSampler
from edgeagent.metrics.server import MetricsServer
from edgeagent.quality.worker import QualityParts, QualitySettings, QualityWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from edgeagent.config.settings import Settings
    from edgeagent.metrics.sampler import StatsSource
    from edgeagent.quality.worker import SendEvent
    from edgeagent.reconcile.ports import Reports, Snapshot

LISTEN_RETRY_S = 30.0
"""The agent that this one replaces may have the port for a moment."""

log = logging.getLogger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Where:
    """Whose metrics these are.

    :param iothub: host name of the hub.
    :param state: folder of the agent's state.
    :param version: of the agent.
    """

    iothub: str
    device_id: str
    state: Path
    version: str = ""


def make_metrics(settings: Settings, where: Where, now_ms: Callable[[], int] = _now_ms) -> AgentMetrics:
    """Before all other parts, as these are given its totals; reads how long the agent was away."""
    downtime_s = Checkpoint(where.state, now_ms).downtime_s()
    return AgentMetrics(
        MetricsSettings(
            where.iothub,
            where.device_id,
            float(settings.metrics_window_s),
            downtime_s,
            Metadata(where.version),
        )
    )


class BothReports:
    """Metrics and another one are told of every round."""

    def __init__(self, metrics: AgentMetrics, other: Reports) -> None:
        self._both: tuple[Reports, Reports] = (metrics, other)

    def publish(self, snapshot: Snapshot) -> None:
        for one in self._both:
            one.publish(snapshot)


class MetricsService:
    """:param stats: of containers.

    :param send: to the hub; without it there is no telemetry.
    :ivar port: of the page, None while it is not open.
    """

    def __init__(
        self,
        settings: Settings,
        where: Where,
        metrics: AgentMetrics,
        stats: StatsSource,
        send: SendEvent | None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._checkpoint = Checkpoint(where.state, now_ms)
        render = metrics.render if settings.metrics_enabled else None
        self._server = MetricsServer(metrics.healthz, render, settings.metrics_suffix)
        self._sampler = ResourceSampler(stats, metrics.running, metrics.resources, float(settings.sampling_s))
        self._quality = _quality(settings, where, metrics, send, now_ms)
        self.port: int | None = None

    async def run(self, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(sleep), name="metrics port")
                group.create_task(self._checkpoint.run(), name="checkpoint")
                group.create_task(self._quality.run(), name="telemetry")
                if self._settings.metrics_enabled or self._quality.is_wanted:
                    group.create_task(self._sampler.run(), name="sampling")
        finally:
            await self._server.stop()

    async def _listen(self, sleep: Callable[[float], Awaitable[Any]]) -> None:
        """A port that cannot be had does not end the agent."""
        said = ""
        while self.port is None:
            try:
                self.port = await self._server.start(self._settings.metrics_host, self._settings.metrics_port)
            except MetricsListenError as fault:
                if str(fault) != said:
                    log.error("%s; trying again every %.0f s", fault, LISTEN_RETRY_S)
                said = str(fault)
                await sleep(LISTEN_RETRY_S)
        log.info("metrics are at port %d", self.port)

    def ended_well(self) -> None:
        """After :meth:`run`: the time until the next start is no downtime."""
        self._checkpoint.remove()


def _quality(
    settings: Settings,
    where: Where,
    metrics: AgentMetrics,
    send: SendEvent | None,
    now_ms: Callable[[], int],
) -> QualityWorker:
    wanted = QualitySettings(
        is_wanted=settings.sends_quality and send is not None,
        scrape_s=float(settings.scrape_s),
        upload_s=float(settings.upload_s),
        age_s_max=float(settings.upload_age_s),
    )
    worker = QualityWorker(wanted, QualityParts(send or _nowhere, metrics.render, where.state, now_ms))
    metrics.quality_events = worker.counts.events
    return worker


async def _nowhere(body: bytes, properties: object) -> None:
    """Never called: without a hub there is no telemetry."""
