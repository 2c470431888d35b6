"""Refreshes of the scope cache that overlap, are given up, or fail halfway."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.state import Change, MemoryState, StateError
from edgehub.identity import refresher as refresher_module
from edgehub.identity.refresher import BUCKET, ScopeApiError, ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache, ScopeDiff
from edgehub.identity.sealing import Sealer
from testkit.clock import ManualClock
from testkit.identities import FakeScopeApi, edge_identity, sas_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.identity.model import ServiceIdentity

FRESH = IdentityId("fresh")


class GatedApi(FakeScopeApi):
    """A parent hub whose answers come when the test lets them."""

    def __init__(self) -> None:
        super().__init__([edge_identity(), sas_identity("leaf")])
        self.may_list = asyncio.Event()
        self.may_list.set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        found = await super().list_identities(edge_chain)
        await self.may_list.wait()
        return found

    async def get_identity(
        self, identity_id: IdentityId, edge_chain: Sequence[str]
    ) -> Sequence[ServiceIdentity]:
        found = await super().get_identity(identity_id, edge_chain)
        await self.may_answer.wait()
        return found


class FullDisk(MemoryState):
    """State that fails while the disk is full: at once, or when it is written."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__()
        self.full = False
        self._at_once = at_once

    def write(self, changes: Sequence[Change]) -> asyncio.Future[None] | None:
        if not self.full:
            return super().write(changes)
        if self._at_once:
            raise StateError("the disk is full")
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(StateError("the disk is full"))
        return failed

    def names(self) -> list[str]:
        return [key for key, _ in self.items(BUCKET)]


class Bench:
    def __init__(self, state: MemoryState | None = None) -> None:
        self.clock = ManualClock()
        self.cache = ScopeCache("edge1")
        self.api = GatedApi()
        self.diffs: list[ScopeDiff] = []
        self.policy = RefreshPolicy(period_s=3600, gap_s=120)
        self.refresher = ScopeRefresher(
            self.cache,
            self.policy,
            self.api,
            self.clock,
            edge_device_id="edge1",
            state=state or MemoryState(),
            sealer=Sealer(bytes(32)),
        )
        self.refresher.on_diff = self.diffs.append

    async def full(self) -> None:
        self.clock.advance(120)
        await self.refresher.refresh_all()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_identity_that_turns_up_during_a_full_refresh_is_not_removed_by_it() -> None:
    """It is connected by then: its connection, its session and its twin would go with it."""
    bench = Bench()
    await bench.full()
    bench.api.may_list.clear()
    full = asyncio.create_task(bench.full())
    await settle()
    bench.api.put(sas_identity("fresh"))
    await bench.refresher.refresh_one(FRESH)
    assert bench.cache.get(FRESH) is not None
    bench.api.may_list.set()
    await full
    assert bench.cache.get(FRESH) is not None
    assert [diff.removed for diff in bench.diffs if diff.removed] == []


async def test_a_client_that_gives_up_and_comes_again_finds_its_answer() -> None:
    bench = Bench()
    await bench.full()
    bench.api.put(sas_identity("fresh"))
    bench.api.may_answer.clear()
    first = asyncio.create_task(bench.refresher.refresh_one(FRESH))
    await settle()
    first.cancel()
    await settle()
    second = asyncio.create_task(bench.refresher.refresh_one(FRESH))
    await settle()
    assert not second.done(), "it waits for the same answer"
    bench.api.may_answer.set()
    await second
    assert bench.cache.get(FRESH) is not None
    assert bench.api.asked == [FRESH]


async def test_an_identity_that_could_not_be_read_is_asked_for_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    await bench.full()
    bench.api.put(sas_identity("fresh"))
    bench.api.failure = ScopeApiError("the link is down")
    await bench.refresher.refresh_one(FRESH)
    await settle()
    assert caplog.text.count("Could not refresh the identity fresh: the link is down") == 1
    bench.api.failure = None
    await bench.refresher.refresh_one(FRESH)
    assert bench.cache.get(FRESH) is not None


async def test_so_many_are_asked_for_because_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when those clients are gone: what they asked for goes on without them."""
    monkeypatch.setattr(refresher_module, "CLIENT_REFRESHES_MAX", 2)
    bench = Bench()
    await bench.full()
    bench.api.may_answer.clear()
    for number in range(3):
        gone = asyncio.create_task(bench.refresher.refresh_one(IdentityId(f"d{number}")))
        await settle()
        gone.cancel()
    assert bench.api.asked == [IdentityId("d0"), IdentityId("d1")]
    bench.api.may_answer.set()
    await settle()
    await bench.refresher.refresh_one(IdentityId("d2"))
    assert bench.api.asked[2:] == [IdentityId("d2")], "it was not counted as done"


async def test_a_refresh_that_is_asked_for_too_soon_is_made_up_for() -> None:
    """The link may be back within the gap of a refresh that failed."""
    bench = Bench()
    job = asyncio.create_task(bench.refresher.run())
    await settle()
    bench.api.failure = ScopeApiError("the link is down")
    bench.clock.advance(120)
    bench.refresher.request_refresh()
    await settle()
    assert len(bench.api.listed) == 2
    bench.api.failure = None
    bench.clock.advance(100)
    bench.refresher.request_refresh()
    await settle()
    assert len(bench.api.listed) == 2
    assert bench.policy.next_full_s(bench.clock.monotonic_s()) == 20
    job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job


@pytest.mark.parametrize("at_once", [True, False])
async def test_i_018_what_the_disk_did_not_take_is_written_with_the_next_refresh(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a device that was removed could connect after a restart without the parent hub."""
    disk = FullDisk(at_once=at_once)
    bench = Bench(disk)
    await bench.full()
    assert disk.names() == ["edge1", "leaf"]
    disk.full = True
    bench.api.remove("leaf")
    bench.api.put(sas_identity("fresh"))
    await bench.full()
    await settle()
    assert disk.names() == ["edge1", "leaf"]
    assert "Could not store the device scope: the disk is full" in caplog.text
    disk.full = False
    await bench.full()
    assert disk.names() == ["edge1", "fresh"]
    assert len(bench.diffs) == 2, "the last refresh brought nothing new"
