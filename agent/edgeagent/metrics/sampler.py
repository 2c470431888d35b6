"""Samples what the machine and the modules take, every few minutes (agent spec 6.2)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from edgeagent.errors import AgentError
from edgeagent.metrics.host import HostSample, read_host
from edgeagent.metrics.resources import ModuleSample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgeagent.metrics.resources import Resources
    from edgeagent.runtime.stats import ContainerStats

FIRST_AFTER_S = 60.0
STATS_TIMEOUT_S = 10.0
"""For one module, so that an engine that hangs does not hold up the others for long."""
HOST_TIMEOUT_S = 20.0

log = logging.getLogger(__name__)


class StatsSource(Protocol):
    """What is needed of :class:`~edgeagent.runtime.containers.Containers`."""

    async def stats(self, name: str) -> ContainerStats:
        """What one container takes, or raises an `AgentError`."""
        ...


class ResourceSampler:
    """:param running: names of the modules that run, with the ids of their containers.

    :param period_s: `PerformanceMetricsUpdateFrequency`.
    :param now_s: a clock that only goes forward.
    """

    def __init__(
        self,
        source: StatsSource,
        running: Callable[[], Mapping[str, str]],
        resources: Resources,
        period_s: float,
        host: Callable[[], HostSample] = read_host,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._running = running
        self._resources = resources
        self._period_s = period_s
        self._host = host
        self._now_s = now_s
        self._reading: asyncio.Future[HostSample] | None = None

    async def run(self, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Until cancelled; nothing that fails ends it."""
        await sleep(min(FIRST_AFTER_S, self._period_s))
        while True:
            try:
                await self.sample()
            except Exception:
                log.exception("the use of resources cannot be sampled")
            await sleep(self._period_s)

    async def sample(self) -> None:
        """Once, one module after the other: nobody is in a hurry."""
        host = await self._sample_host()
        if host is not None:
            self._resources.take_host(host, self._now_s())
        samples = {}
        for name, container_id in self._running().items():
            stats = await self._stats(name)
            if stats is not None:
                samples[name] = ModuleSample(container_id, stats)
        self._resources.take_modules(samples, self._now_s())

    async def _stats(self, name: str) -> ContainerStats | None:
        try:
            async with asyncio.timeout(STATS_TIMEOUT_S):
                return await self._source.stats(name)
        except (AgentError, OSError) as fault:  # TimeoutError is an OSError
            log.debug("%s cannot be sampled: %s", name, fault or "no answer in time")
            return None

    async def _sample_host(self) -> HostSample | None:
        """In a thread, as a disk may hang; then no other thread is begun before that one comes back."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._host)
        done, _ = await asyncio.wait({self._reading}, timeout=HOST_TIMEOUT_S)
        if not done:
            log.warning("the machine did not answer within %.0f s; a disk may hang", HOST_TIMEOUT_S)
            return None
        reading, self._reading = self._reading, None
        return reading.result()
