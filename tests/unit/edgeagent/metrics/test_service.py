"""Metrics and telemetry as a whole, from the settings."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from edgeagent.config.settings import Settings
from edgeagent.metrics.checkpoint import CHECKPOINT_FILE
from edgeagent.metrics.service import BothReports, MetricsService, Where, make_metrics
from edgeagent.reconcile.ports import Snapshot
from edgeagent.report.outcome import Outcome
from edgeagent.runtime.stats import ContainerStats
from testkit.fake_runtime import FakeReports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

SETTINGS = replace(Settings(), metrics_host="127.0.0.1", metrics_port=0)
START_MS = 1_700_000_000_000


class Source:
    async def stats(self, name: str) -> ContainerStats:
        return ContainerStats(1, 2, 3, 4, 5, 6, 7, 8, 9)


async def _send(body: bytes, properties: Mapping[str, str]) -> None:
    """Takes it."""


def _service(folder: Path, settings: Settings = SETTINGS, *, hub: bool = True) -> MetricsService:
    where = Where("hub1.example.net", "d1", folder, "1.0")
    metrics = make_metrics(settings, where)
    return MetricsService(settings, where, metrics, Source(), _send if hub else None)


def _names() -> set[str]:
    return {each.get_name() for each in asyncio.all_tasks()}


@contextlib.asynccontextmanager
async def _running(service: MetricsService) -> AsyncIterator[set[str]]:
    """Names of the tasks that are at work."""
    task = asyncio.create_task(service.run())
    async with asyncio.timeout(10):
        while service.port is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    try:
        yield _names()
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def _get(port: int | None, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_x17_the_page_and_health(tmp_path: Path) -> None:
    service = _service(tmp_path)
    async with _running(service) as tasks:
        assert {"sampling", "checkpoint", "telemetry"} <= tasks
        status, page = await _get(service.port, "/metrics")
        assert status == 200
        assert 'edge_agent_version="1.0"' in page
        assert (await _get(service.port, "/healthz"))[0] == 503
    with pytest.raises(aiohttp.ClientConnectorError):
        await _get(service.port, "/healthz")


@pytest.mark.parametrize(
    ("enabled", "sends", "hub", "samples"),
    [(False, True, True, True), (False, False, True, False), (False, True, False, False),
     (True, False, False, True)],
)  # fmt: skip
async def test_x22_what_nobody_wants_does_not_run(
    tmp_path: Path, enabled: bool, sends: bool, hub: bool, samples: bool
) -> None:
    settings = replace(SETTINGS, metrics_enabled=enabled, sends_quality=sends)
    service = _service(tmp_path, settings, hub=hub)
    async with _running(service) as tasks:
        async with asyncio.timeout(10):
            while not (sends and hub) and "telemetry" in _names():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        assert ("sampling" in tasks) == samples
        assert ((await _get(service.port, "/metrics"))[0] == 200) == enabled
        assert (await _get(service.port, "/healthz"))[0] == 503


async def test_a_port_in_use_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = _service(tmp_path / "a")
    async with _running(first):
        second = _service(tmp_path / "b", replace(SETTINGS, metrics_port=first.port or 0))
        pauses = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0)
            if len(pauses) == 3:
                await first._server.stop()

        task = asyncio.create_task(second.run(sleep))
        async with asyncio.timeout(10):
            while second.port is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        assert second.port == first.port
        assert caplog.text.count("cannot be opened") == 1
        task.cancel()
        await asyncio.wait([task])


async def test_the_time_away_counts_but_after_a_clean_end(tmp_path: Path) -> None:
    service = _service(tmp_path)
    async with _running(service), asyncio.timeout(10):
        while not (tmp_path / CHECKPOINT_FILE).exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    (tmp_path / CHECKPOINT_FILE).write_text("638355968000000000")
    where = Where("h", "d", tmp_path)
    later = make_metrics(SETTINGS, where, lambda: START_MS + 60_000)
    assert later.availability.modules["edgeAgent"].expected_s == 60
    service.ended_well()
    clean = make_metrics(SETTINGS, where, lambda: START_MS + 60_000)
    assert clean.availability.modules["edgeAgent"].expected_s == 0


def test_both_are_told_of_a_round(tmp_path: Path) -> None:
    metrics, reports = make_metrics(SETTINGS, Where("h", "d", tmp_path)), FakeReports()
    snapshot = Snapshot(Outcome(200), 1, None, {})
    BothReports(metrics, reports).publish(snapshot)
    assert reports.snapshots == [snapshot]
    assert metrics.healthz()[0] == 200
