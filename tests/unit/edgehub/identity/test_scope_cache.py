"""The device scope cache and its refresh rules (heads spec 4.3, 4.4, 4.6; I-011, I-012)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.identity import scope as scope_module
from edgehub.identity.model import ServiceIdentity
from edgehub.identity.scope import RefreshPolicy, ScopeCache, ScopeReading
from testkit.identities import EDGE_SCOPE, edge_identity, sas_identity

EDGE2_SCOPE = "ms-azure-iot-edge://edge2-1"
FAMILY = (
    edge_identity(),
    sas_identity("edge1/m"),
    sas_identity("leaf"),
    edge_identity("edge2", EDGE2_SCOPE, [EDGE_SCOPE]),
    sas_identity("edge2/$edgeHub"),
    sas_identity("deep", parent_scope=EDGE2_SCOPE),
    sas_identity("deep/m"),
)


def family() -> ScopeCache:
    cache = ScopeCache("edge1")
    cache.replace_all(FAMILY)
    return cache


def test_a_full_refresh_tells_what_changed() -> None:
    cache = family()
    changed = dataclasses.replace(FAMILY[2], keys=("bmV3",))
    diff = cache.replace_all([*FAMILY[:2], changed, *FAMILY[3:6], sas_identity("fresh")])
    assert [item.id for item in diff.added] == [IdentityId("fresh")]
    assert diff.changed == (changed,)
    assert diff.removed == (IdentityId("deep", "m"),)
    assert cache.get(IdentityId("deep", "m")) is None
    assert len(cache) == 7


def test_an_unchanged_scope_gives_no_difference() -> None:
    assert not family().replace_all(reversed(FAMILY))


def test_one_identity_is_added_changed_and_removed() -> None:
    cache = family()
    fresh = sas_identity("fresh")
    assert cache.apply_one(fresh.id, [fresh]).added == (fresh,)
    assert not cache.apply_one(fresh.id, [fresh])
    assert cache.apply_one(fresh.id, []).removed == (fresh.id,)
    assert not cache.apply_one(fresh.id, [])


def test_a_device_that_is_gone_takes_its_modules_along() -> None:
    cache = family()
    diff = cache.apply_one(IdentityId("deep"), [])
    assert set(diff.removed) == {IdentityId("deep"), IdentityId("deep", "m")}
    assert cache.get(IdentityId("deep", "m")) is None


def test_a_module_that_is_gone_leaves_its_device() -> None:
    cache = family()
    diff = cache.apply_one(IdentityId("deep", "m"), [FAMILY[5]])
    assert diff.removed == (IdentityId("deep", "m"),)
    assert cache.get(IdentityId("deep")) == FAMILY[5]


def test_chains() -> None:
    cache = family()
    chains = {str(item.id): cache.chain_to(item.id) for item in cache.all()}
    assert chains == {
        "edge1": ("edge1",),
        "edge1/m": ("edge1/m", "edge1"),
        "leaf": ("leaf", "edge1"),
        "edge2": ("edge2", "edge1"),
        "edge2/$edgeHub": ("edge2/$edgeHub", "edge2", "edge1"),
        "deep": ("deep", "edge2", "edge1"),
        "deep/m": ("deep/m", "deep", "edge2", "edge1"),
    }


def test_no_chain_without_identity_device_or_parent() -> None:
    cache = family()
    assert cache.chain_to(IdentityId("nobody")) is None
    assert cache.chain_to(IdentityId("leaf", "nobody")) is None
    cache.replace_all([sas_identity("orphan"), sas_identity("lone/m")])
    assert cache.chain_to(IdentityId("orphan")) is None
    assert cache.chain_to(IdentityId("lone", "m")) is None


def test_chains_in_a_circle_end() -> None:
    cache = ScopeCache("edge1")
    cache.replace_all([edge_identity("a", "sa", ["sb"]), edge_identity("b", "sb", ["sa"])])
    assert cache.chain_to(IdentityId("a")) is None


def test_chains_have_a_depth_limit() -> None:
    cache = ScopeCache("e0")
    cache.replace_all([edge_identity(f"e{n}", f"s{n}", [f"s{n - 1}"]) for n in range(8)])
    assert cache.chain_to(IdentityId("e5")) == ("e5", "e4", "e3", "e2", "e1", "e0")
    assert cache.chain_to(IdentityId("e6")) is None


@pytest.mark.parametrize(
    ("identity", "edges"),
    [
        ("edge1", "edge1"),
        ("edge1/m", "edge1"),
        ("leaf", "edge1"),
        ("edge2", "edge1"),
        ("edge2/$edgeHub", "edge1"),
        ("deep", "edge2;edge1"),
        ("deep/m", "edge2;edge1"),
        ("nobody", "edge1"),
    ],
)
def test_edge_devices_above(identity: str, edges: str) -> None:
    assert ";".join(family().edges_above(IdentityId.parse(identity))) == edges


def test_who_may_send_upstream() -> None:
    cache = family()
    assert cache.upstream_chain(IdentityId("deep", "m")) == ("deep/m", "deep", "edge2", "edge1")
    assert cache.upstream_chain(IdentityId("nobody")) is None
    cache.apply_one(IdentityId("leaf"), [sas_identity("leaf", enabled=False), sas_identity("leaf/m")])
    assert cache.upstream_chain(IdentityId("leaf")) is None
    assert cache.upstream_chain(IdentityId("leaf", "m")) is None


@given(st.lists(st.lists(st.sampled_from(FAMILY), unique=True), max_size=4))
def test_differences_add_up(pages: list[list[ServiceIdentity]]) -> None:
    cache, known = ScopeCache("edge1"), dict[IdentityId, ServiceIdentity]()
    for page in pages:
        diff = cache.replace_all(page)
        for gone in diff.removed:
            del known[gone]
        known.update({item.id: item for item in (*diff.added, *diff.changed)})
        assert known == {item.id: item for item in page}


ONE = IdentityId("d")


def policy() -> RefreshPolicy:
    return RefreshPolicy(period_s=3600, gap_s=120)


def test_the_first_refresh_is_due_at_once_and_repeated_until_it_succeeds() -> None:
    rules = policy()
    assert rules.next_full_s(5) == 0
    rules.full_finished(10, succeeded=False)
    assert rules.next_full_s(10) == 60
    assert not rules.loaded
    rules.full_finished(70, succeeded=True)
    assert rules.loaded
    assert rules.next_full_s(70) == 3600
    assert rules.next_full_s(10_000) == 0


def test_a_later_failure_waits_for_the_period() -> None:
    rules = policy()
    rules.full_finished(0, succeeded=True)
    rules.full_finished(3600, succeeded=False)
    assert rules.loaded
    assert rules.next_full_s(3600) == 3600


def test_a_full_refresh_that_is_wanted_too_soon_comes_when_the_gap_is_over() -> None:
    rules = policy()
    rules.full_finished(0, succeeded=True)
    rules.want_full()
    assert rules.next_full_s(20) == 100
    rules.full_finished(120, succeeded=False)
    assert rules.next_full_s(120) == 120, "it is wanted until it succeeds"
    rules.full_finished(240, succeeded=True)
    assert rules.next_full_s(240) == 3600


def test_one_that_is_wanted_before_the_first_load_comes_at_once_and_once() -> None:
    rules = policy()
    rules.full_finished(0, succeeded=False)
    rules.want_full()
    assert rules.next_full_s(1) == 0
    rules.full_finished(2, succeeded=False)
    assert rules.next_full_s(2) == 60


def test_without_a_gap_a_wanted_one_that_fails_is_not_repeated_without_end() -> None:
    rules = RefreshPolicy(period_s=3600, gap_s=0)
    rules.full_finished(0, succeeded=True)
    rules.want_full()
    assert rules.next_full_s(1) == 0
    rules.full_finished(2, succeeded=False)
    assert rules.next_full_s(2) == 60


def test_a_failed_single_refresh_may_be_tried_again() -> None:
    rules = policy()
    rules.full_finished(0, succeeded=True)
    assert rules.take_one(ONE, 10)
    rules.give_back_one(ONE)
    assert rules.take_one(ONE, 11)
    assert not rules.take_one(ONE, 12)


@pytest.mark.parametrize(
    ("before", "after", "anew"), [("1", "2", True), ("1", "1", False), ("", "2", False), ("1", "", False)]
)
def test_an_identity_with_another_generation_is_another(before: str, after: str, anew: bool) -> None:
    cache = ScopeCache("edge1")
    cache.replace_all([dataclasses.replace(sas_identity("leaf"), generation_id=before)])
    diff = cache.apply_one(
        IdentityId("leaf"),
        [dataclasses.replace(sas_identity("leaf"), generation_id=after, enabled=False)],
    )
    assert [str(item.id) for item in diff.changed] == ["leaf"]
    assert diff.gone == ((IdentityId("leaf"),) if anew else ())


LEAF = sas_identity("leaf")
OTHER_LEAF = dataclasses.replace(LEAF, enabled=False)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("before", "listed", "alone", "after"),
    [
        (None, None, LEAF, LEAF),  # turned up after the list was made
        (LEAF, LEAF, None, None),  # went after the list was made
        (LEAF, LEAF, OTHER_LEAF, OTHER_LEAF),
        (LEAF, None, OTHER_LEAF, OTHER_LEAF),
    ],
)
def test_what_was_read_alone_during_a_full_refresh_is_newer(
    before: ServiceIdentity | None,
    listed: ServiceIdentity | None,
    alone: ServiceIdentity | None,
    after: ServiceIdentity | None,
    complete: bool,
) -> None:
    cache = ScopeCache("edge1")
    cache.replace_all([edge_identity(), *([before] if before else [])])
    begun = cache.revision
    found = {item.id: (item, begun) for item in (edge_identity(), listed) if item is not None}
    cache.apply_one(LEAF.id, [alone] if alone else [])
    cache.take_all(ScopeReading(begun, found, complete))
    assert cache.get(LEAF.id) == after
    assert cache.get(IdentityId("edge1")) is not None


def test_a_list_that_was_asked_for_after_it_was_read_alone_is_newer_still() -> None:
    cache = ScopeCache("edge1")
    cache.replace_all([edge_identity(), LEAF])
    begun = cache.revision
    cache.apply_one(LEAF.id, [OTHER_LEAF])
    found = {item.id: (item, cache.revision) for item in (edge_identity(), LEAF)}
    cache.take_all(ScopeReading(begun, found, complete=True))
    assert cache.get(LEAF.id) == LEAF
    # And the next refresh knows nothing of it any more.
    begun = cache.revision
    cache.take_all(ScopeReading(begun, {edge_identity().id: (edge_identity(), begun)}, complete=True))
    assert cache.get(LEAF.id) is None


def test_full_refreshes_on_demand_keep_a_gap() -> None:
    rules = policy()
    assert rules.may_refresh_all(0)
    rules.full_finished(0, succeeded=True)
    assert not rules.may_refresh_all(119.9)
    assert rules.may_refresh_all(120)


def test_single_refreshes_wait_for_the_first_load_and_keep_a_gap_per_identity() -> None:
    rules = policy()
    assert not rules.take_one(ONE, 0)
    rules.full_finished(0, succeeded=True)
    assert rules.take_one(ONE, 10)
    assert not rules.take_one(ONE, 129)
    assert rules.take_one(IdentityId("e"), 11)
    assert rules.take_one(ONE, 130)


def test_the_memory_of_single_refreshes_is_bounded() -> None:
    rules = policy()
    rules.full_finished(0, succeeded=True)
    for number in range(scope_module.TRACKED_REFRESHES_MAX):
        assert rules.take_one(IdentityId(f"d{number}"), 1)
    assert rules.take_one(ONE, 2)
    assert rules.take_one(IdentityId("d0"), 3)
    assert not rules.take_one(ONE, 4)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("edge1", {"edge1", "edge1/m", "leaf", "edge2"}),
        ("edge2", {"edge2", "edge2/$edgeHub", "deep", "deep/m"}),
        ("deep", {"deep", "deep/m"}),
        ("leaf", {"leaf"}),
        ("nobody", set()),
    ],
)
def test_h_011_the_scope_of_a_device(target: str, shown: set[str]) -> None:
    found = family().scope_of(IdentityId(target))
    assert {str(item.id) for item in found} == shown
    assert len(found) == len(shown)
    assert not found or found[0].id == IdentityId(target)


def test_devices_without_scopes_are_nobody_s_children() -> None:
    cache = ScopeCache("edge1")
    cache.replace_all([edge_identity(scope=""), sas_identity("leaf", parent_scope="")])
    assert [str(item.id) for item in cache.scope_of(IdentityId("edge1"))] == ["edge1"]
    assert cache.chain_to(IdentityId("leaf")) is None
