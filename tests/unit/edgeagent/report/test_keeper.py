"""Reports in the background."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeagent.report import keeper as keeper_module
from edgeagent.report.keeper import ReportKeeper
from edgeagent.report.outcome import SUCCESS, Outcome
from edgeagent.report.reporter import Reporter
from unit.edgeagent.report.samples import BUILD, PLATFORM, container, deployment
from unit.edgeagent.report.test_reporter import Hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import pytest

    from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
    from edgeagent.model.module import Deployment


@dataclass(frozen=True)
class Looked:
    """What the loop tells after a round."""

    version: int = 3
    status: Outcome = SUCCESS
    deployment: Deployment | None = field(default_factory=deployment)
    current: Mapping[str, CurrentModule] | None = field(default_factory=lambda: {"m": container("m")})
    statuses: Mapping[str, RuntimeStatus] = field(default_factory=dict)
    restarts: Mapping[str, Restarts] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=lambda: {"m": "it waits"})


@contextlib.asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[ReportKeeper]:
    keeper = ReportKeeper(Reporter(hub.merge), PLATFORM, BUILD)
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(20):
            yield keeper
    finally:
        task.cancel()
        await asyncio.wait([task])


async def patches(hub: Hub, count: int) -> list[Mapping[str, Any]]:
    while len(hub.patches) < count:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    return hub.patches


async def test_the_newest_round_is_reported_as_soon_as_the_twin_is_known() -> None:
    hub = Hub()
    async with running(hub) as keeper:
        keeper.publish(Looked(1))
        keeper.publish(Looked(2))
        await asyncio.sleep(0)
        assert not hub.patches
        keeper.sync({})
        (patch,) = await patches(hub, 1)
        assert patch["lastDesiredVersion"] == 2
        assert patch["lastDesiredStatus"]["code"] == 200
        assert patch["modules"]["m"]["statusDescription"] == "it waits"
        keeper.publish(Looked(2))
        keeper.publish(Looked(3, Outcome(500, "no")))
        await patches(hub, 2)
        assert hub.patches[1] == {
            "lastDesiredVersion": 3,
            "lastDesiredStatus": {"code": 500, "description": "no"},
        }


async def test_a_twin_that_was_wiped_is_written_at_once() -> None:
    hub = Hub()
    async with running(hub) as keeper:
        keeper.publish(Looked())
        keeper.sync({})
        await patches(hub, 1)
        keeper.sync({})
        await patches(hub, 2)
        assert hub.patches[0] == hub.patches[1]


async def test_a_restart_does_not_take_the_version_back() -> None:
    """Row R04: nothing is in force yet, but something was."""
    hub = Hub()
    async with running(hub) as keeper:
        keeper.publish(Looked(0, Outcome(406), None, {}))
        keeper.sync({"lastDesiredVersion": 7})
        (patch,) = await patches(hub, 1)
        assert "lastDesiredVersion" not in patch


async def test_the_last_word() -> None:
    """Rows R01 and R02."""
    hub = Hub()
    async with running(hub) as keeper:
        keeper.publish(Looked())
        keeper.sync({})
        await patches(hub, 1)
    await keeper.shutdown()
    assert hub.patches[1]["lastDesiredStatus"] == {"code": 406, "description": "Agent is not running"}
    assert hub.reported["modules"]["m"]["runtimeStatus"] == "unknown"


async def test_the_last_word_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "SHUTDOWN_S", 0.0)

    async def never(_: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    keeper = ReportKeeper(Reporter(never), PLATFORM, BUILD)
    keeper.sync({})
    await keeper.shutdown()
    assert "did not hear in time" in caplog.text
