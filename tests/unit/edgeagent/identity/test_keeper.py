"""Identities in the background (rows X02, X04)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.errors import RegistryUnreachableError
from edgeagent.identity.keeper import RETRY_S_MAX, RETRY_S_MIN, IdentityKeeper, Wishes, module_id
from edgeagent.identity.manager import IdentityManager
from edgeagent.model.module import Deployment, Module
from unit.edgeagent.identity.test_manager import Registry, derive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NONE: frozenset[str] = frozenset()
A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")


def test_names_of_system_modules() -> None:
    assert [module_id(name) for name in ("edgeAgent", "edgeHub", "m")] == ["$edgeAgent", "$edgeHub", "m"]


def test_a_wish_is_asked_for_once() -> None:
    wishes = Wishes()
    assert wishes.deadline is None
    assert wishes.want(A, NONE)
    assert wishes.deadline == float("-inf")
    wishes.asked(NONE, {}, 0.0)
    assert wishes.deadline is None
    assert not wishes.want(A, NONE)
    assert wishes.deadline is None
    assert wishes.want(AB, NONE)


def test_failures_are_tried_again_after_longer_and_longer() -> None:
    wishes, now, waits = Wishes(), 0.0, []
    wishes.want(A, NONE)
    for _ in range(9):
        wishes.asked(NONE, {"": "offline"}, now)
        assert wishes.deadline is not None
        waits.append(wishes.deadline - now)
        now = wishes.deadline
    assert waits == [RETRY_S_MIN, 10, 20, 40, 80, 160, RETRY_S_MAX, RETRY_S_MAX, RETRY_S_MAX]
    wishes.hurry()
    assert wishes.deadline == float("-inf")
    wishes.want(B, NONE)
    wishes.asked(NONE, {"b": "no"}, now)
    assert wishes.deadline == now + RETRY_S_MIN


def test_hurry_without_a_wish_asks_nothing() -> None:
    wishes = Wishes()
    wishes.hurry()
    assert wishes.deadline is None


def test_what_was_removed_stays_so_until_it_is_done() -> None:
    """Though its container is gone meanwhile."""
    wishes = Wishes()
    wishes.want(A, B)
    wishes.asked(B, {"": "offline"}, 0.0)
    assert not wishes.want(A, B)
    assert not wishes.want(A, NONE)
    assert wishes.removed == B
    wishes.asked(B, {}, 0.0)
    assert wishes.removed == NONE


def test_a_container_that_stays_is_asked_for_once() -> None:
    """Such as one whose identity is not ours."""
    wishes = Wishes()
    assert wishes.want(A, B)
    wishes.asked(B, {}, 0.0)
    assert not wishes.want(A, B)
    assert not wishes.want(A, NONE)
    assert wishes.want(A, B)


def test_what_is_wanted_again_is_not_removed() -> None:
    wishes = Wishes()
    wishes.want(A, B)
    assert wishes.want(AB, NONE)
    assert wishes.removed == NONE


sets = st.frozensets(st.sampled_from("abc"))


@given(st.lists(st.tuples(sets, sets, st.booleans()), max_size=20))
def test_wanted_and_removed_never_meet(steps: list[tuple[frozenset[str], frozenset[str], bool]]) -> None:
    wishes = Wishes()
    for wanted, removed, answered in steps:
        wishes.want(wanted, removed)
        assert not wishes.wanted & wishes.removed
        if answered:
            wishes.asked(wishes.removed, {}, 0.0)
            assert wishes.deadline is None


def deployment(*names: str) -> Deployment:
    return Deployment({name: Module(name, "i:1") for name in names})


class Rig:
    """A keeper that runs, and how often it woke the loop."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        manager = IdentityManager(registry, derive, IdentityCache(folder / "i.json", "hub", "d"))
        self.wakes = asyncio.Event()
        self.keeper = IdentityKeeper(manager, self.wakes.set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[IdentityKeeper]:
        task = asyncio.create_task(self.keeper.run())
        try:
            async with asyncio.timeout(20):
                yield self.keeper
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_the_loop_is_woken_when_a_module_may_be_made(tmp_path: Path) -> None:
    registry, rig = Registry(), None
    rig = Rig(registry, tmp_path)
    async with rig.running() as keeper:
        assert keeper.known() == NONE
        keeper.want(deployment("m", "edgeHub", "edgeAgent"), {})
        await rig.wakes.wait()
        assert keeper.known() == {"m", "$edgeHub"}
        assert keeper.generation_id("edgeHub") == registry.identities["$edgeHub"].generation_id
        assert keeper.generation_id("other") is None
        calls = len(registry.calls)
        keeper.want(deployment("m", "edgeHub", "edgeAgent"), {"m": None})
        await asyncio.sleep(0)
        assert len(registry.calls) == calls
        rig.wakes.clear()
        keeper.want(deployment("edgeHub"), {"m": None, "edgeAgent": None})
        await rig.wakes.wait()
        assert keeper.known() == {"$edgeHub"}
        assert "delete m" in registry.calls


async def test_x04_without_a_hub_it_is_tried_again_when_the_hub_is_back(tmp_path: Path) -> None:
    """Row X04."""
    registry = Registry()
    registry.faults["list"] = RegistryUnreachableError("offline")
    rig = Rig(registry, tmp_path)
    async with rig.running() as keeper:
        keeper.want(deployment("m"), {})
        while not keeper.faults:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        assert keeper.faults == {"": "offline"}
        registry.faults.clear()
        keeper.link_up()
        await rig.wakes.wait()
        assert keeper.known() == {"m"}
