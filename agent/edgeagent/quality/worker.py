"""Gathers metrics and sends them to the operator's own hub, and nowhere else (agent spec 6.4, row X22)."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgeagent.errors import AgentError
from edgeagent.link.errors import LinkBusyError, LinkDownError, LinkTimeoutError
from edgeagent.quality.counts import QualityCounts
from edgeagent.quality.errors import ScrapeError
from edgeagent.quality.messages import CONTENT_TYPE, messages_of
from edgeagent.quality.retry import SPREAD, pause_s
from edgeagent.quality.scrape import fetch, read_page
from edgeagent.quality.store import ENTRIES_MAX, FOLDER, QualityStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from edgeagent.quality.samples import Sample
    from edgeagent.quality.store import Entry

HUB_ADDRESS = "http://edgeHub:9600/metrics"
PROPERTIES = {"$.ct": CONTENT_TYPE}

_LATER = (LinkTimeoutError, LinkDownError, LinkBusyError)
"""The hub did not say no: it may take the message another time."""

log = logging.getLogger(__name__)


class SendEvent(Protocol):
    """Such as :meth:`~edgeagent.link.client.UpstreamLink.send_event`."""

    async def __call__(self, body: bytes, properties: Mapping[str, str]) -> None:
        """Sends and waits until the hub has it, or raises a `LinkError`."""
        ...


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """:param is_wanted: `SendRuntimeQualityTelemetry`.

    :param scrape_s: `MetricScrapeInterval`.
    :param upload_s: `MetricUploadInterval`.
    :param age_s_max: `MetricMaxUploadAge`.
    :param hub_address: where edgeHub shows its metrics.
    """

    is_wanted: bool
    scrape_s: float = 3600.0
    upload_s: float = 24 * 3600.0
    age_s_max: float = 7 * 24 * 3600.0
    hub_address: str = HUB_ADDRESS


@dataclass(frozen=True, slots=True)
class QualityParts:
    """What the worker works with.

    :param own_page: the agent's own metrics as text (:meth:`~edgeagent.metrics.agent_metrics.AgentMetrics.render`).
    :param now_ms: wall clock, UTC since 1970.
    :param state: folder of the agent's state.
    :param chance: random numbers from 0 to 1.
    """  # noqa: E501 - a reference cannot be broken

    send: SendEvent
    own_page: Callable[[], bytes]
    state: Path
    now_ms: Callable[[], int]
    fetch: Callable[[str], Awaitable[bytes]] = fetch
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    counts: QualityCounts = field(default_factory=QualityCounts)


class QualityWorker:
    """Scrapes and uploads until it is cancelled.

    :ivar counts: what became of everything, for metrics.
    """

    def __init__(self, settings: QualitySettings, parts: QualityParts) -> None:
        self._settings = settings
        self._parts = parts
        self.counts = parts.counts
        self._store = QualityStore(parts.state / FOLDER, settings.age_s_max, parts.counts)

    @property
    def is_wanted(self) -> bool:
        """Whether anything runs at all."""
        return self._settings.is_wanted

    async def run(self) -> None:
        """Until cancelled; nothing that fails ends it. Where telemetry is not wanted it only deletes what an
        earlier run has kept, and is over.
        """
        if not self._settings.is_wanted:
            await self._guarded(self._forget)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._scrapes(), name="metrics for telemetry")
            group.create_task(self._uploads(), name="upload of telemetry")

    async def _scrapes(self) -> None:
        while True:
            await self._parts.sleep(self._settings.scrape_s)
            await self._guarded(self.scrape)

    async def _uploads(self) -> None:
        # Not all devices of a fleet that was switched on together shall come at once.
        await self._parts.sleep(self._parts.chance() * self._settings.upload_s)
        while True:
            await self._guarded(self.upload)
            await self._parts.sleep(self._settings.upload_s)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except AgentError as fault:
            log.warning("runtime-quality telemetry: %s", fault)
        except Exception:
            log.exception("runtime-quality telemetry failed")

    async def _forget(self) -> None:
        await asyncio.to_thread(self._store.clear)

    async def scrape(self) -> None:
        """Reads both pages and keeps what may leave the device; a page that cannot be read is left out.

        :raises StateFileError: the disk does not take it.
        """
        at_ms = self._parts.now_ms()
        samples = await self._page(self._hub_page, at_ms)
        samples += await self._page(self._own_page, at_ms)
        if not samples:
            return
        try:
            await asyncio.to_thread(self._store.add, samples, at_ms)
        except AgentError:
            self.counts.scrapes_lost += 1
            raise

    async def _hub_page(self) -> bytes:
        return await self._parts.fetch(self._settings.hub_address)

    async def _own_page(self) -> bytes:
        return self._parts.own_page()

    async def _page(self, fetched: Callable[[], Awaitable[bytes]], at_ms: int) -> list[Sample]:
        try:
            samples, beyond = await asyncio.to_thread(read_page, await fetched(), at_ms)
        except ScrapeError as fault:
            self.counts.scrapes_failed += 1
            log.warning("metrics for telemetry: %s", fault)
            return []
        self.counts.scrapes += 1
        if beyond:
            self.counts.samples_dropped += beyond
            log.warning("metrics for telemetry: %d samples are left out, there are too many", beyond)
        return samples

    async def upload(self) -> None:
        """Sends everything that is kept, oldest first. What fails for good is deleted with all the rest.

        :raises StateFileError: the store cannot be read or changed.
        """
        for _ in range(ENTRIES_MAX):
            entries = await asyncio.to_thread(self._store.batch, self._parts.now_ms())
            if not entries:
                return
            if not await self._send_all(entries):
                self.counts.given_up += 1
                scrapes = await asyncio.to_thread(self._store.clear)
                log.error("%d scrapes for telemetry are deleted, as they cannot be sent", scrapes)
                return
            await asyncio.to_thread(self._store.remove, entries)

    async def _send_all(self, entries: Sequence[Entry]) -> bool:
        for message in await asyncio.to_thread(self._messages, entries):
            if not await self._deliver(message):
                return False
        return True

    def _messages(self, entries: Sequence[Entry]) -> list[bytes]:
        return list(messages_of(self._store.samples(entries), self._dropped))

    def _dropped(self, _name: str) -> None:
        self.counts.samples_dropped += 1

    async def _deliver(self, message: bytes) -> bool:
        """Tries until the hub has it; false when there is no more hope."""
        retries = 0
        while True:
            try:
                await self._parts.send(message, PROPERTIES)
            except (AgentError, OSError) as fault:
                self.counts.sends_failed += 1
                wait_s = self._pause_s(fault, retries)
                log.warning("telemetry is not sent: %s", fault)
                if wait_s is None:
                    return False
                retries += 1
                await self._parts.sleep(wait_s)
            else:
                self.counts.messages += 1
                return True

    def _pause_s(self, fault: Exception, retries: int) -> float | None:
        if not isinstance(fault, _LATER):
            return None
        low, high = SPREAD
        return pause_s(retries, low + (high - low) * self._parts.chance())
