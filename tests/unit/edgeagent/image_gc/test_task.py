"""Runs of the image garbage collection against an engine that fails when told to (rows X10, X11)."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.image_gc.settings import DAY_S, GcSettings
from edgeagent.image_gc.task import GcOutcome, ImageGarbageCollection
from edgeagent.image_gc.uses import ImageUses
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.errors import EngineError, EngineUnreachable
from testkit.clock import ManualClock
from testkit.fake_engine import Fault, running_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from testkit.fake_engine import FakeEngine

AGENT = "reg.example.net/agent:1"
OURS = {labels.OWNER: labels.OWNER_VALUE}


class Rig:
    """A fake engine with images of which each was used at the start; ten days have gone since."""

    def __init__(self, fake: FakeEngine, engine: Engine, folder: Path) -> None:
        self.fake = fake
        self.clock = ManualClock()
        self.uses = ImageUses(folder, self.clock.wall_s)
        self.wanted = [AGENT]
        self.engine = engine
        self.gc = self.with_settings(GcSettings())

    def with_settings(self, settings: GcSettings) -> ImageGarbageCollection:
        return ImageGarbageCollection(
            self.engine, self.uses, settings, lambda: self.wanted, self.clock.wall_s
        )

    async def fill(self, *references: str) -> dict[str, str]:
        ids = {reference: self.fake.state.add_image(reference) for reference in references}
        for image_id in ids.values():
            await self.uses.record(image_id)
        self.clock.advance(10 * DAY_S)
        return ids

    def left(self) -> set[str]:
        return set(self.fake.state.images)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_engine() as fake, Engine(fake.address) as engine:
        yield Rig(fake, engine, tmp_path)


async def test_x10_what_is_used_young_untracked_or_the_agents_stays(rig: Rig) -> None:
    ids = await rig.fill(AGENT, "used:1", "old:1", "wanted:1", "strangers:1")
    rig.fake.state.add_image("untracked:1")
    await rig.uses.record(rig.fake.state.add_image("young:1"))
    rig.fake.state.create("sensor", {"Image": "used:1", "Labels": OURS})
    rig.fake.state.add_foreign("stranger", "strangers:1", state="exited")
    rig.wanted += ["wanted:1", "not-pulled-yet:1"]
    assert await rig.gc.collect() == GcOutcome(deleted=(ids["old:1"],))
    assert rig.left() == {AGENT, "used:1", "young:1", "untracked:1", "wanted:1", "strangers:1"}
    assert (await rig.uses.all())[ids["used:1"]] == rig.clock.wall_s()
    assert ids["old:1"] not in await rig.uses.all()


async def test_x10_an_image_that_the_engine_keeps_is_forgotten(rig: Rig) -> None:
    ids = await rig.fill(AGENT, "a:1", "b:1")
    rig.fake.faults.append(Fault("DELETE", f"/images/{ids['a:1']}", status=409, message="in use"))
    assert await rig.gc.collect() == GcOutcome(deleted=(ids["b:1"],), failed=(ids["a:1"],))
    assert set(await rig.uses.all()) == {ids[AGENT]}


async def test_x11_no_answer_about_the_agents_image_ends_the_run(rig: Rig) -> None:
    await rig.fill(AGENT, "a:1")
    rig.fake.faults.append(Fault("GET", f"/images/{AGENT}/json", status=500))
    with pytest.raises(EngineError):
        await rig.gc.collect()
    assert rig.left() == {AGENT, "a:1"}
    assert len(await rig.uses.all()) == 2


async def test_x11_an_agent_image_that_is_not_there_does_not(rig: Rig) -> None:
    await rig.fill("a:1")
    assert len((await rig.gc.collect()).deleted) == 1


async def test_no_answer_about_the_containers_ends_the_run(rig: Rig) -> None:
    await rig.fill("a:1")
    rig.fake.faults.append(Fault("GET", "/containers/json", status=500))
    with pytest.raises(EngineError):
        await rig.gc.collect()
    assert rig.left() == {"a:1"}


async def test_an_engine_that_goes_away_leaves_the_rest_for_the_next_run(rig: Rig) -> None:
    ids = await rig.fill("a:1", "b:1", "c:1")
    order = sorted(ids.values())
    rig.fake.faults.append(Fault("DELETE", f"/images/{order[1]}", drop=True, times=2))
    with pytest.raises(EngineUnreachable):
        await rig.gc.collect()
    assert set(await rig.uses.all()) == set(order[1:])
    assert len((await rig.gc.collect()).deleted) == 2


async def test_an_image_that_is_used_during_the_run_stays(rig: Rig) -> None:
    ids = await rig.fill("a:1", "b:1")
    first, second = sorted(ids.values())
    go_on = asyncio.Event()
    rig.fake.faults.append(Fault("DELETE", f"/images/{first}", hold=go_on))
    run = asyncio.create_task(rig.gc.collect())
    await rig.fake.received("DELETE", f"/images/{first}")
    await rig.uses.record(second)
    go_on.set()
    assert await run == GcOutcome(deleted=(first,))
    assert set(await rig.uses.all()) == {second}


class Calendar:
    """A clock that a sleep moves; after the last day the sleeper is woken no more."""

    def __init__(self, now: datetime, days: int) -> None:
        self.time = now
        self.end = now + timedelta(days=days)
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += timedelta(seconds=seconds)
        if self.time > self.end:
            raise asyncio.CancelledError


async def run_for(rig: Rig, settings: GcSettings, calendar: Calendar, monkeypatch: Any) -> list[datetime]:
    runs: list[datetime] = []
    collection = rig.with_settings(settings)

    async def collect() -> GcOutcome:
        runs.append(calendar.time)
        if len(runs) == 1:
            raise EngineUnreachable("unix:///x", "gone")
        return GcOutcome()

    monkeypatch.setattr(collection, "collect", collect)
    with pytest.raises(asyncio.CancelledError):
        await collection.run(calendar.now, calendar.sleep)
    return runs


async def test_runs_are_at_their_time_and_go_on_after_a_failure(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calendar = Calendar(datetime(2026, 8, 1, 12, 0), days=6)
    settings = GcSettings(recurrence_days=2, cleanup_time=time(3, 30))
    assert await run_for(rig, settings, calendar, monkeypatch) == [
        datetime(2026, 8, day, 3, 30) for day in (2, 4, 6)
    ]
    assert max(calendar.sleeps) <= 3600
    assert "not cleaned up this time: the container engine at unix:///x: gone" in caplog.text


async def test_switched_off_it_never_runs(rig: Rig) -> None:
    await rig.fill("a:1")
    await rig.with_settings(GcSettings(enabled=False)).run()
    assert rig.left() == {"a:1"}
