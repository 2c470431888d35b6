"""Refreshes of the scope cache and its copy on disk (I-012, I-013)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.identity.refresher import ASKING_MAX, BUCKET, ScopeApiError, ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache, ScopeDiff
from edgehub.identity.sealing import Sealer
from testkit.clock import ManualClock
from testkit.identities import EDGE_SCOPE, FakeScopeApi, edge_identity, key_of, sas_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.identity.model import ServiceIdentity


LEAF = IdentityId("leaf")


class Bench:
    def __init__(
        self,
        *,
        secret: bytes = bytes(32),
        state: MemoryState | None = None,
        api: bool = True,
        nested: bool = True,
    ) -> None:
        self.clock = ManualClock()
        self.cache = ScopeCache("edge1")
        self.api = FakeScopeApi([edge_identity(), sas_identity("leaf"), sas_identity("edge1/m")])
        self.state = state if state is not None else MemoryState()
        self.diffs: list[ScopeDiff] = []
        self.refresher = ScopeRefresher(
            self.cache,
            RefreshPolicy(period_s=3600, gap_s=120),
            self.api if api else None,
            self.clock,
            edge_device_id="edge1",
            state=self.state,
            sealer=Sealer(secret),
            nested=nested,
        )
        self.refresher.on_diff = self.diffs.append


async def test_the_first_refresh_fills_cache_and_disk() -> None:
    bench = Bench()
    assert not bench.refresher.can_refresh()
    await bench.refresher.refresh_all()
    assert bench.refresher.can_refresh()
    assert len(bench.cache) == 3
    assert [len(diff.added) for diff in bench.diffs] == [3]
    assert [key for key, _ in bench.state.items(BUCKET)] == ["edge1", "edge1/m", "leaf"]


async def test_i_018_secrets_are_not_on_disk_in_clear() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    stored = b"".join(value for _, value in bench.state.items(BUCKET))
    assert key_of("leaf").encode() not in stored
    assert b"leaf" not in stored


async def test_i_013_a_restart_offline_knows_everybody() -> None:
    first = Bench()
    await first.refresher.refresh_all()
    second = Bench(state=first.state)
    assert second.refresher.load_stored() == 3
    assert set(second.cache.all()) == set(first.cache.all())
    assert second.diffs == []


async def test_a_copy_of_another_key_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    first = Bench()
    await first.refresher.refresh_all()
    second = Bench(secret=bytes(range(32)), state=first.state)
    assert second.refresher.load_stored() == 0
    assert "3 stored identities cannot be read" in caplog.text


async def test_removed_identities_leave_the_disk() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    bench.api.remove("leaf")
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    assert bench.diffs[-1].removed == (LEAF,)
    assert [key for key, _ in bench.state.items(BUCKET)] == ["edge1", "edge1/m"]


async def test_refreshes_on_demand_keep_a_gap() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    await bench.refresher.refresh_all()
    assert len(bench.api.listed) == 1
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    assert len(bench.api.listed) == 2


async def test_refreshes_at_the_same_time_are_one() -> None:
    bench = Bench()
    await asyncio.gather(*(bench.refresher.refresh_all() for _ in range(5)))
    assert len(bench.api.listed) == 1


async def test_one_who_leaves_does_not_stop_the_refresh_of_the_others() -> None:
    bench = Bench()
    leaving = asyncio.create_task(bench.refresher.refresh_all())
    staying = asyncio.create_task(bench.refresher.refresh_all())
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert len(bench.cache) == 3


async def test_a_failed_refresh_keeps_everything(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    bench.clock.advance(120)
    bench.api.failure = ScopeApiError("no answer")
    await bench.refresher.refresh_all()
    assert len(bench.cache) == 3
    assert "Could not refresh the device scope: no answer" in caplog.text
    bench.clock.advance(120)
    await bench.refresher.refresh_one(LEAF)
    assert bench.cache.get(LEAF) is not None


async def test_i_012_one_identity_is_asked_for_at_most_once_per_gap() -> None:
    bench = Bench()
    await bench.refresher.refresh_one(LEAF)
    assert bench.api.asked == []
    await bench.refresher.refresh_all()
    bench.api.put(sas_identity("fresh"))
    fresh = IdentityId("fresh")
    await bench.refresher.refresh_one(fresh)
    await bench.refresher.refresh_one(fresh)
    assert bench.api.asked == [fresh]
    assert bench.cache.get(fresh) is not None
    assert bench.diffs[-1].added == (sas_identity("fresh"),)


async def test_edge_devices_below_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    edge2, edge3 = edge_identity("edge2", "s2", [EDGE_SCOPE]), edge_identity("edge3", "s3", ["s2"])
    scopes = {"edge1": [edge_identity(), edge2], "edge2": [edge2, edge3], "edge3": [edge3]}

    async def listing(edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        bench.api.listed.append(";".join(edge_chain))
        return scopes[edge_chain[0]]

    monkeypatch.setattr(bench.api, "list_identities", listing)
    await bench.refresher.refresh_all()
    assert len(bench.cache) == 3
    assert bench.api.listed == ["edge1", "edge2;edge1", "edge3;edge2;edge1"]


async def test_edge_devices_below_are_not_walked_when_nesting_is_off() -> None:
    bench = Bench(nested=False)
    bench.api.put(edge_identity("edge2", "s2", [EDGE_SCOPE]))
    await bench.refresher.refresh_all()
    assert bench.api.listed == ["edge1"]


async def test_an_edge_device_below_that_fails_does_not_spoil_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    bench.api.put(edge_identity("edge2", "s2", [EDGE_SCOPE]), sas_identity("deep", parent_scope="s2"))
    await bench.refresher.refresh_all()
    whole = bench.api.list_identities

    async def partly(edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        listed = [item for item in await whole(edge_chain) if item.id.device_id != "deep"]
        if edge_chain[0] == "edge2":
            raise ScopeApiError("refused")
        return listed

    monkeypatch.setattr(bench.api, "list_identities", partly)
    bench.api.put(sas_identity("fresh"))
    bench.api.remove("leaf")
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    assert bench.cache.get(IdentityId("fresh")) is not None
    assert bench.cache.get(IdentityId("deep")) is not None, "what could not be listed is kept"
    assert bench.cache.get(LEAF) is not None, "and nothing is removed on an incomplete answer"
    assert "Could not list the scope of edge2: refused" in caplog.text


async def test_without_a_parent_nothing_is_asked() -> None:
    bench = Bench(api=False)
    await bench.refresher.refresh_all()
    await bench.refresher.refresh_one(LEAF)
    await bench.refresher.run()
    assert not bench.refresher.can_refresh()


async def test_the_loop_refreshes_at_once_and_when_the_link_is_back() -> None:
    bench = Bench()
    job = asyncio.create_task(bench.refresher.run())
    await wait_until(lambda: len(bench.api.listed) == 1 and bench.refresher.can_refresh())
    bench.refresher.request_refresh()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(bench.api.listed) == 1, "the last refresh is too recent"
    bench.clock.advance(120)
    bench.refresher.request_refresh()
    await wait_until(lambda: len(bench.api.listed) == 2)
    job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job


async def wait_until(condition: object) -> None:
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


def with_child(bench: Bench) -> list[ServiceIdentity]:
    """An edge device below, which the parent hub has and the cache does not know."""
    child = [edge_identity("edge2", "s2", [EDGE_SCOPE]), sas_identity("deep", parent_scope="s2")]
    bench.api.put(*child)
    return child


async def test_an_edge_device_that_turns_up_brings_what_is_below_it() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    with_child(bench)
    await bench.refresher.refresh_one(IdentityId("edge2"))
    assert bench.api.listed == ["edge1", "edge2;edge1"]
    assert bench.cache.chain_to(IdentityId("deep")) == ("deep", "edge2", "edge1")
    assert [item.id.device_id for diff in bench.diffs[1:] for item in diff.added] == ["edge2", "deep"]


async def test_what_is_below_it_may_stay_unknown(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    child = with_child(bench)

    async def refuse(edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        raise ScopeApiError("refused")

    bench.api.list_identities = refuse  # type: ignore[method-assign]
    await bench.refresher.refresh_one(IdentityId("edge2"))
    assert bench.cache.get(IdentityId("edge2")) == child[0]
    assert "Could not list the scope of edge2: refused" in caplog.text


async def test_the_scope_of_a_disabled_edge_device_is_none() -> None:
    bench = Bench()
    with_child(bench)
    await bench.refresher.refresh_all()
    assert bench.cache.get(IdentityId("deep")) is not None
    bench.api.identities = {
        key: item for key, item in bench.api.identities.items() if key.device_id != "deep"
    }
    bench.api.put(dataclasses.replace(edge_identity("edge2", "s2", [EDGE_SCOPE]), enabled=False))
    bench.api.listed.clear()
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    assert bench.api.listed == ["edge1"]
    assert bench.cache.get(IdentityId("edge2")) is not None
    assert bench.cache.get(IdentityId("deep")) is None


async def test_h_014_whoever_asks_now_asks_whenever_that_was_done_last() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    for _ in range(2):
        await bench.refresher.refresh_now(LEAF)
    assert bench.api.asked == [LEAF, LEAF]
    bench.api.remove("leaf")
    await bench.refresher.refresh_now(LEAF)
    assert bench.cache.get(LEAF) is None
    bench.api.failure = ScopeApiError("no answer")
    with pytest.raises(ScopeApiError, match="no answer"):
        await bench.refresher.refresh_now(LEAF)


async def test_those_who_ask_for_the_same_ask_together_and_one_may_leave() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    leaving, *staying = [asyncio.create_task(bench.refresher.refresh_now(LEAF)) for _ in range(3)]
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(*staying)
    assert bench.api.asked == [LEAF]
    assert leaving.cancelled()


async def test_so_many_are_asked_for_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgehub.identity.refresher.REFRESHES_MAX", 1)
    bench = Bench()
    await bench.refresher.refresh_all()
    first = asyncio.create_task(bench.refresher.refresh_now(LEAF))
    await asyncio.sleep(0)
    with pytest.raises(ScopeApiError, match="1 identities are being asked for already"):
        await bench.refresher.refresh_now(IdentityId("other"))
    await first
    await bench.refresher.refresh_now(IdentityId("other"))
    assert bench.api.asked == [LEAF, IdentityId("other")]


async def test_without_a_parent_nothing_is_asked_for_now() -> None:
    await Bench(api=False).refresher.refresh_now(LEAF)


@pytest.mark.parametrize(("beyond", "listed"), [(0, 1), (1, 2)])
async def test_identities_are_asked_for_in_the_background_up_to_a_limit_then_all(
    beyond: int, listed: int
) -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    bench.clock.advance(120)
    names = [IdentityId(f"d{number}") for number in range(ASKING_MAX + beyond)]
    for name in names:
        bench.refresher.refresh_refused(name)
    running = asyncio.create_task(bench.refresher.run())
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    assert bench.api.asked == names[:ASKING_MAX]
    assert len(bench.api.listed) == listed


async def test_t_024_a_refusal_counts_although_the_identity_was_read_a_moment_ago() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    await bench.refresher.refresh_one(LEAF)
    for _ in range(2):
        bench.refresher.refresh_refused(LEAF)
        await asyncio.sleep(0)
    assert bench.api.asked == [LEAF, LEAF]
    bench.clock.advance(120)
    bench.refresher.refresh_refused(LEAF)
    await asyncio.sleep(0)
    assert bench.api.asked == [LEAF, LEAF, LEAF]


async def test_t_024_a_refusal_that_could_not_be_looked_into_is_tried_again() -> None:
    bench = Bench()
    await bench.refresher.refresh_all()
    bench.api.failure = ScopeApiError("503")
    bench.refresher.refresh_refused(LEAF)
    await asyncio.sleep(0)
    bench.api.failure = None
    bench.refresher.refresh_refused(LEAF)
    await asyncio.sleep(0)
    assert bench.api.asked == [LEAF, LEAF]


async def test_without_a_parent_a_refusal_is_not_looked_into() -> None:
    Bench(api=False).refresher.refresh_refused(LEAF)
