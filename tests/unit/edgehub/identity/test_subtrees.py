"""A child speaks and asks for what is below it, and for nothing else (heads spec 3.3, 3.4, 4.6; I-017)."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.errors import EdgehubError
from edgehub.identity.authenticator import AuthRequest, Verdict
from edgehub.identity.scope_answers import IDENTITIES_PER_SLICE, OutsideSubtreeError
from testkit.children import FAMILY, SCOPES, ChildBench
from testkit.identities import sas_identity, token_for

PARENTS = {
    "leaf": "edge1", "edge2": "edge1", "deep": "edge2", "edge3": "edge2", "deepest": "edge3",
    "edge4": "edge1", "far": "edge4",
}  # fmt: skip
CHILDREN = ("edge2", "edge3", "edge4")
EVERYBODY = [str(item.id) for item in FAMILY]


def way_up(device: str) -> list[str]:
    """A device and those above it."""
    way = [device]
    while way[-1] in PARENTS:
        way.append(PARENTS[way[-1]])
    return way


def chain_for(target: str, actor: str) -> tuple[str, bool]:
    """The chain that an actor presents for a target, and whether it is a true one."""
    device = target.partition("/")[0]
    way = way_up(device)
    head = [target] if "/" in target else []
    if actor in way:
        return ";".join((*head, *way[: way.index(actor) + 1])), True
    return ";".join((*head, device, actor)), False


def speak(bench: ChildBench, target: str, chain: str, actor: str) -> Verdict:
    token = token_for(f"{actor}/$edgeHub", bench.clock)
    return bench.authenticator.check(AuthRequest(IdentityId.parse(target), token, chain))


@pytest.mark.parametrize("actor", CHILDREN)
@pytest.mark.parametrize("target", EVERYBODY)
async def test_i_017_in_the_subtree_and_nowhere_else(target: str, actor: str) -> None:
    bench = ChildBench()
    chain, below = chain_for(target, actor)
    assert speak(bench, target, chain, actor).accepted is below
    assert bench.cache.chain_to(IdentityId.parse(target)) is not None, "it is known either way"
    identity = IdentityId.parse(target)
    if below:
        page = json.loads(await bench.answers.lookup(actor, identity, actor))
        assert [item["deviceId"] for item in page["devices"]] == [identity.device_id]
        assert len(page["modules"]) == identity.is_module
    else:
        with pytest.raises(OutsideSubtreeError):
            await bench.answers.lookup(actor, identity, actor)


@pytest.mark.parametrize("actor", CHILDREN)
@pytest.mark.parametrize("target", [name for name in EVERYBODY if "/" not in name])
async def test_i_017_scopes_and_modules_of_a_device(target: str, actor: str) -> None:
    bench = ChildBench()
    chain, below = chain_for(target, actor)
    if below:
        page = json.loads(await bench.answers.listing(actor, chain))
        assert page["devices"][0]["deviceId"] == target
        way = await bench.answers.way_to(IdentityId(target), chain, actor)
        assert list(way) == way_up(target)
        return
    for refused in (
        bench.answers.listing(actor, chain),
        bench.answers.way_to(IdentityId(target), chain, actor),
    ):
        with pytest.raises(OutsideSubtreeError):
            await refused


NAMES = st.sampled_from([*PARENTS, "edge1", "ghost", "edge2/m", "deep/m"])


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(CHILDREN), st.sampled_from(EVERYBODY))
def test_whatever_is_granted_is_below_and_the_chain_is_true(ids: list[str], actor: str, target: str) -> None:
    bench = ChildBench()
    chain = ";".join(ids)
    identity = IdentityId.parse(target)
    try:
        asyncio.run(bench.answers.lookup(actor, identity, chain))
    except EdgehubError:
        return
    devices = [name for name in ids if "/" not in name]
    way = way_up(identity.device_id)
    assert actor in way
    assert devices[-1] == actor
    start = way.index(devices[0])
    assert way[start : start + len(devices)] == devices


async def test_a_leaf_device_acts_for_nobody_whatever_its_modules_are_called() -> None:
    bench = ChildBench((*FAMILY, sas_identity("deep/$edgeHub")))
    assert speak(bench, "deep/m", "deep/m;deep", "deep").reason == "deep is not an edge device"
    for refused in (
        bench.answers.listing("deep", "deep"),
        bench.answers.lookup("deep", IdentityId("deep", "m"), "deep"),
        bench.answers.way_to(IdentityId("deep"), "deep", "deep"),
    ):
        with pytest.raises(OutsideSubtreeError, match="deep is not an edge device"):
            await refused
    assert await bench.answers.way_to(IdentityId("deep"), None, "deep") == ("deep", "edge2", "edge1")


async def test_a_disabled_edge_device_on_the_way_ends_it() -> None:
    bench = ChildBench()
    edge2 = next(item for item in FAMILY if item.id == IdentityId("edge2"))
    bench.put(dataclasses.replace(edge2, enabled=False))
    verdict = speak(bench, "deepest", "deepest;edge3", "edge3")
    assert (verdict.accepted, verdict.reason) == (False, "edge2 above this client is disabled")
    assert bench.cache.upstream_chain(IdentityId("deepest")) is None
    for refused in (
        bench.answers.listing("edge3", "edge3"),
        bench.answers.lookup("edge3", IdentityId("deepest"), "edge3"),
        bench.answers.way_to(IdentityId("deepest"), "deepest;edge3", "edge3"),
        bench.answers.way_to(IdentityId("deepest"), None, "deepest"),
    ):
        with pytest.raises(OutsideSubtreeError, match="edge2 above"):
            await refused


async def test_who_is_accepted_is_checked_again_when_a_device_above_changes() -> None:
    """A client that a child connected is closed when an edge device on its way is disabled (I-014)."""
    bench = ChildBench()
    verdict = speak(bench, "deepest", "deepest;edge3", "edge3")
    assert verdict.credential is not None
    edge2 = next(item for item in FAMILY if item.id == IdentityId("edge2"))
    bench.put(dataclasses.replace(edge2, enabled=False))
    assert not bench.authenticator.check_again(verdict.credential).accepted


async def test_a_scope_of_thousands_leaves_room_for_other_work() -> None:
    many = [sas_identity(f"d{number}", parent_scope=SCOPES["edge4"]) for number in range(1000)]
    bench = ChildBench((*FAMILY, *many))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(others())
    page = json.loads(await bench.answers.listing("edge4", "edge4"))
    working.cancel()
    assert turns >= 1000 / IDENTITIES_PER_SLICE
    assert len(page["devices"]) == 1002
