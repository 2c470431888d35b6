"""The twin of `$edgeHub`: reading, patches, reporting (settings spec 3.3, 3.4)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.errors import EdgehubError
from edgehub.hub import edge_hub_twin as module
from edgehub.hub.edge_hub_twin import PATCHES_WAITING_MAX, EdgeHubTwin
from edgehub.hub.reported import ReportedState
from edgehub.hub.routes import RoutesService
from testkit.clock import ManualClock
from testkit.fake_core import Engine, core_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

ROUTE = "FROM /* INTO $upstream"


def document(version: int, **routes: Any) -> dict[str, Any]:
    return {"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": {}, "$version": version}


class FakeTwin:
    """The parent hub's side."""

    def __init__(self) -> None:
        self.desired = document(1, up=ROUTE)
        self.reads = 0
        self.reported: list[Mapping[str, Any]] = []
        self.failure: Exception | None = None
        self.clients_max = 1000
        self.before_answer: Callable[[], None] | None = None

    async def get_desired(self) -> Mapping[str, Any]:
        self.reads += 1
        answer = self.desired
        if self.before_answer is not None:
            self.before_answer()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return answer

    async def patch_reported(self, patch: Mapping[str, Any]) -> str | None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if len(patch["clients"] or {}) > self.clients_max:
            return "too large"
        self.reported.append(patch)
        return None


class Bench:
    def __init__(self, *, refresh_s: float = 3600) -> None:
        self.core = Engine()
        self.remote = FakeTwin()
        self.routes = RoutesService(
            self.core, core_module.check_routes, MemoryState(), edge_device_id="edge1"
        )
        self.twin = EdgeHubTwin(
            self.remote,
            self.routes,
            ReportedState("v"),
            ManualClock(),
            refresh_s=refresh_s,
            reported_gap_s=0,
        )
        self.jobs = [
            asyncio.create_task(self.twin.run_desired()),
            asyncio.create_task(self.twin.run_reported()),
        ]

    async def settle(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    def applied(self) -> list[str]:
        return [" ".join(name for name, *_ in call.routes) for call in self.core.take_calls("set_routes")]

    def statuses(self) -> list[tuple[int, int]]:
        found = [patch for patch in self.remote.reported if "lastDesiredStatus" in patch]
        return [(patch["lastDesiredVersion"], patch["lastDesiredStatus"]["code"]) for patch in found]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    for job in made.jobs:
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job


async def test_the_twin_is_read_when_the_link_is_up(bench: Bench) -> None:
    await bench.settle()
    assert bench.remote.reads == 0
    bench.twin.link_up()
    await bench.settle()
    assert bench.applied() == ["up"]
    assert bench.twin.first_outcome.done()
    assert bench.statuses() == [(1, 200)]


async def test_patches_are_applied_in_order(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.twin.desired_patch({"routes": {"a": ROUTE}, "$version": 2})
    bench.twin.desired_patch({"routes": {"up": None}, "$version": 3})
    await bench.settle()
    assert bench.applied() == ["up", "up a", "a"]
    assert bench.statuses()[-1] == (3, 200)
    assert bench.remote.reads == 1


async def test_a_bad_patch_is_reported_and_the_next_one_mends_it(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.twin.desired_patch({"routes": {"a": "BAD"}, "$version": 2})
    await bench.settle()
    bench.twin.desired_patch({"routes": {"a": ROUTE}, "$version": 3})
    await bench.settle()
    assert bench.applied() == ["up", "up a"]
    assert bench.statuses() == [(1, 200), (2, 400), (3, 200)]


async def test_a_bad_twin_is_reported(bench: Bench) -> None:
    bench.remote.desired = document(5, up="BAD")
    bench.twin.link_up()
    await bench.settle()
    assert bench.applied() == []
    assert bench.statuses() == [(5, 400)]
    assert bench.twin.first_outcome.done()
    assert not bench.routes.configured


async def test_a_gap_in_the_versions_is_closed_by_reading_all(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.remote.desired = document(5, x=ROUTE)
    bench.twin.desired_patch({"routes": {"lost": ROUTE}, "$version": 5})
    await bench.settle()
    assert bench.remote.reads == 2
    assert bench.applied() == ["up", "x"]


async def test_a_patch_that_the_document_already_holds_is_skipped(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.twin.desired_patch({"routes": {"old": ROUTE}, "$version": 1})
    await bench.settle()
    assert bench.applied() == ["up"]


async def test_a_patch_that_arrives_during_the_read_is_not_lost(bench: Bench) -> None:
    def patch_comes() -> None:
        bench.twin._patches.append({"routes": {"late": ROUTE}, "$version": 2})

    bench.remote.before_answer = patch_comes
    bench.twin.link_up()
    await bench.settle()
    assert bench.applied() == ["up", "up late"]


async def test_a_patch_before_any_document_reads_all(bench: Bench) -> None:
    bench.twin.desired_patch({"routes": {"a": ROUTE}, "$version": 2})
    await bench.settle()
    assert bench.applied() == []
    bench.remote.desired = document(2, a=ROUTE)
    bench.twin.link_up()
    await bench.settle()
    assert bench.applied() == ["a"]


async def test_after_patches_that_went_astray_all_is_read(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.remote.desired = document(2, down=ROUTE)
    bench.twin.desired_missed()
    await bench.settle()
    assert bench.applied() == ["up", "down"]


async def test_too_many_waiting_patches_become_one_read(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.remote.desired = document(500, z=ROUTE)
    for version in range(2, PATCHES_WAITING_MAX + 10):
        bench.twin.desired_patch({"$version": version})
    await bench.settle()
    assert bench.remote.reads == 2
    assert bench.applied()[-1] == "z"


async def test_however_many_reads_fail_one_retry_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, retries = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    call_later = loop.call_later

    def recorded(delay_s: float, *parts: Any) -> asyncio.TimerHandle:
        handle = call_later(delay_s, *parts)
        if delay_s == module.RETRY_S:
            retries.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_later", recorded)
    bench.remote.failure = EdgehubError("timeout")
    for _ in range(3):
        bench.twin.link_up()
        await bench.settle()
    assert bench.remote.reads == 3
    assert [handle.cancelled() for handle in retries] == [True, True, False]


async def test_a_failed_read_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0)
    bench.remote.failure = EdgehubError("timeout")
    bench.twin.link_up()
    await bench.settle()
    assert bench.remote.reads >= 2
    assert not bench.twin.first_outcome.done()
    bench.remote.failure = None
    await bench.settle()
    assert bench.applied() == ["up"]


async def test_the_whole_twin_is_read_again_by_the_clock() -> None:
    made = Bench(refresh_s=0)
    made.twin.link_up()
    await made.settle()
    assert made.remote.reads > 2
    assert made.applied() == ["up"]
    for job in made.jobs:
        job.cancel()
    await asyncio.gather(*made.jobs, return_exceptions=True)


async def test_clients_are_told_after_the_link_is_up(bench: Bench) -> None:
    bench.twin.connected(IdentityId("leaf"))
    await bench.settle()
    assert bench.remote.reported == []
    bench.twin.link_up()
    await bench.settle()
    clear, *rest = bench.remote.reported
    assert clear["clients"] is None
    merged: dict[str, Any] = {}
    for patch in rest:
        merged |= patch["clients"]
    assert merged["leaf"]["status"] == "Connected"


async def test_what_could_not_be_told_is_told_later(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.twin.link_down()
    bench.twin.connected(IdentityId("leaf"))
    await bench.settle()
    before = len(bench.remote.reported)
    bench.twin.disconnected(IdentityId("leaf"))
    bench.twin.link_up()
    await bench.settle()
    later: dict[str, Any] = {}
    for patch in bench.remote.reported[before:]:
        later |= patch["clients"]
    assert later == {"leaf": None}


async def test_a_failed_report_is_tried_again(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    before = len(bench.remote.reported)
    bench.remote.failure = EdgehubError("timeout")
    bench.twin.connected(IdentityId("leaf"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.remote.failure = None
    await bench.settle()
    assert bench.remote.reported[before]["clients"]["leaf"]["status"] == "Connected"


async def test_a_report_that_is_cut_off_is_not_lost(bench: Bench) -> None:
    bench.twin.link_up()
    await bench.settle()
    bench.twin.connected(IdentityId("leaf"))
    flush = asyncio.create_task(bench.twin.flush_reported())
    await asyncio.sleep(0)
    flush.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flush
    await bench.settle()
    assert any("leaf" in (patch["clients"] or {}) for patch in bench.remote.reported)


async def test_more_clients_than_the_twin_can_hold_do_not_hide_the_status(bench: Bench) -> None:
    bench.remote.clients_max = 2
    for number in range(3):
        bench.twin.connected(IdentityId(f"d{number}"))
    bench.twin.link_up()
    await bench.settle()
    assert bench.statuses() == [(1, 200)]
    bench.twin.connected(IdentityId("d9"))
    await bench.settle()
    assert list(bench.remote.reported[-1]["clients"]) == ["d9"]
