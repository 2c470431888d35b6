"""Twins of clients, online and offline (heads spec 7; rows T-004 to T-010, T-013)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.state import StateError
from edgehub.hub.twins import service
from edgehub.hub.twins.service import TwinFullError
from edgehub.protocol.reported import ReportedError
from unit.edgehub.hub.twins.twins_rig import NOTHING, TwinsRig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgehub.hub.twins.parent import TwinDocument

D = "dev1"


@pytest.fixture
async def rig() -> AsyncIterator[TwinsRig]:
    found = TwinsRig()
    yield found
    await found.stop()


async def test_t_005_nothing_known_is_an_empty_twin(rig: TwinsRig) -> None:
    assert await rig.get(D) == {"desired": {}, "reported": {}}
    assert rig.parent.take() == []
    assert rig.counts == [("read", D, "edge_hub")]


async def test_get_asks_the_parent_hub_and_keeps_its_answer(rig: TwinsRig) -> None:
    rig.parent.change_desired(D, {"a": 1})
    await rig.link_up()
    assert await rig.get(D) == {"desired": {"a": 1, "$version": 2}, "reported": {"$version": 1}}
    rig.twins.link_down()
    assert (await rig.get(D))["desired"] == {"a": 1, "$version": 2}
    assert [count[2] for count in rig.counts] == ["upstream", "edge_hub"]


async def test_t_004_offline_it_is_the_last_copy_with_what_was_reported_since(rig: TwinsRig) -> None:
    rig.parent.reported[D] = {"x": 1, "y": {"z": 2}, "$version": 7}
    await rig.link_up()
    await rig.get(D)
    rig.twins.link_down()
    await rig.report(D, {"x": None, "y": {"w": 3}})
    assert (await rig.get(D))["reported"] == {"y": {"z": 2, "w": 3}, "$version": 7}


async def test_a_parent_that_does_not_answer_is_as_good_as_none(rig: TwinsRig) -> None:
    await rig.link_up()
    await rig.report(D, {"x": 1})
    rig.parent.fails = True
    assert (await rig.get(D))["reported"] == {"x": 1, "$version": 2}
    assert rig.counts[-1] == ("read", D, "edge_hub")


async def test_dev_19_a_copy_of_the_parent_hub_does_not_undo_what_waits(rig: TwinsRig) -> None:
    rig.parent.reported[D] = {"x": 1, "$version": 7}
    await rig.report(D, {"x": 2})
    rig.parent.held.clear()
    rig.twins.link_up()
    await rig.settle()
    asked = asyncio.ensure_future(rig.get(D))
    await rig.settle()
    rig.parent.fails = True
    rig.parent.held.set()
    assert (await asked)["reported"] == {"x": 2}
    rig.parent.fails = False
    assert (await rig.get(D))["reported"] == {"x": 2, "$version": 7}


async def test_t_006_offline_patches_arrive_merged_and_once(rig: TwinsRig) -> None:
    await rig.report(D, {"a": 1, "b": 1})
    await rig.report(D, {"b": 2, "c": None})
    assert rig.parent.take("report") == []
    await rig.link_up()
    assert rig.parent.take("report") == [("report", D, {"a": 1, "b": 2, "c": None})]
    rig.twins.link_down()
    await rig.link_up()
    assert rig.parent.take("report") == []
    assert rig.counts == [("reported", D, "edge_hub")] * 2 + [("reported", D, "upstream")]


async def test_t_007_an_object_that_was_replaced_offline_arrives_as_it_is(rig: TwinsRig) -> None:
    rig.parent.reported[D] = {"o": {"old": 1}, "$version": 1}
    await rig.report(D, {"o": None})
    await rig.report(D, {"o": {"new": 2}})
    await rig.link_up()
    assert rig.parent.take("report") == [("report", D, {"o": None}), ("report", D, {"o": {"new": 2}})]
    assert rig.parent.reported[D]["o"] == {"new": 2}


async def test_what_waits_survives_a_restart(rig: TwinsRig) -> None:
    await rig.report(D, {"a": 1})
    await rig.report("edge1/mod1", {"b": 1})
    await rig.restart()
    assert (await rig.get(D))["reported"] == {"a": 1}
    await rig.link_up()
    assert sorted(call[:2] for call in rig.parent.take("report")) == [("report", D), ("report", "edge1/mod1")]
    await rig.restart()
    await rig.link_up()
    assert rig.parent.take("report") == []


async def test_a_patch_during_a_push_goes_with_the_next_one(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.parent.held.clear()
    await rig.report(D, {"a": 1})
    await rig.report(D, {"a": 2})
    rig.parent.held.set()
    await rig.settle()
    assert [call[2] for call in rig.parent.take("report")] == [{"a": 1}, {"a": 2}]
    assert rig.parent.reported[D] == {"a": 2, "$version": 3}


async def test_a_push_that_failed_goes_again_with_what_came_since(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.parent.fails = True
    await rig.report(D, {"a": 1, "b": 1})
    await rig.report(D, {"a": 2})
    assert rig.parent.take("report") == [("report", D, {"a": 1, "b": 1})]
    rig.parent.fails = False
    rig.twins.link_down()
    await rig.link_up()
    assert rig.parent.take("report") == [("report", D, {"a": 2, "b": 1})]


async def test_a_patch_refused_for_good_is_counted_and_the_truth_is_read() -> None:
    rig = TwinsRig()
    rig.parent.refuses = {"bad"}
    await rig.report(D, {"bad": 1})
    await rig.link_up()
    assert [call[0] for call in rig.parent.take()][:2] == ["report", "read"]
    assert ("refused", D) in rig.counts
    assert (await rig.get(D))["reported"] == {"$version": 1}
    await rig.stop()


async def test_bad_patches_are_not_stored(rig: TwinsRig) -> None:
    with pytest.raises(ReportedError):
        await rig.twins.report(IdentityId(D), b"{")
    assert rig.changes == []
    assert await rig.get(D) == {"desired": {}, "reported": {}}


async def test_what_waits_for_one_client_is_bounded(rig: TwinsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PENDING_BYTES_MAX", 100)
    await rig.report(D, {"a": "x" * 80})
    with pytest.raises(TwinFullError):
        await rig.report(D, {"b": "x" * 80})
    await rig.report(D, {"a": "y" * 80})
    assert (await rig.get(D))["reported"] == {"a": "y" * 80}


async def test_what_could_not_be_sent_counts_too(rig: TwinsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PENDING_BYTES_MAX", 100)
    await rig.link_up()
    rig.parent.fails = True
    await rig.report(D, {"a": "x" * 80})
    with pytest.raises(TwinFullError):
        await rig.report(D, {"b": "x" * 80})


async def test_an_empty_patch_is_answered_and_goes_nowhere(rig: TwinsRig) -> None:
    await rig.link_up()
    await rig.report(D, {})
    assert rig.parent.take("report") == []
    assert rig.counts == [("reported", D, "edge_hub")]


async def test_a_state_that_fails_does_not_reach_the_link(
    rig: TwinsRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise StateError("no disk")

    rig.subscribe(D)
    monkeypatch.setattr(rig.state, "get", fails)
    rig.twins.desired_patch(IdentityId(D), {"a": 1, "$version": 2})
    assert "no disk" in caplog.text


async def test_t_013_every_reported_patch_is_told_to_the_routes(rig: TwinsRig) -> None:
    await rig.report(D, {"a": 1})
    assert rig.changes == [(D, b'{"a": 1}')]


async def test_t_008_reported_goes_before_desired_is_compared(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.get(D)
    rig.twins.link_down()
    await rig.report(D, {"a": 1})
    rig.parent.take()
    await rig.link_up()
    assert [call[0] for call in rig.parent.take()] == ["report", "read"]


async def test_desired_patches_are_passed_on_and_stored(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.get(D)
    await rig.change_desired(D, {"a": 1})
    await rig.change_desired(D, {"b": None, "a": 2})
    assert rig.take_told() == [
        (D, 2, {"a": 1, "$version": 2}),
        (D, 3, {"b": None, "a": 2, "$version": 3}),
    ]
    rig.twins.link_down()
    assert (await rig.get(D))["desired"] == {"a": 2, "$version": 3}


async def test_t_009_what_was_missed_comes_as_one_patch(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.change_desired(D, {"a": {"x": 1, "y": 1}, "b": 1})
    rig.take_told()
    rig.twins.link_down()
    await rig.change_desired(D, {"a": {"x": 2}}, arrives=False)
    await rig.change_desired(D, {"b": None, "c": [1]}, arrives=False)
    await rig.link_up()
    assert rig.take_told() == [(D, 4, {"a": {"x": 2}, "b": None, "c": [1], "$version": 4})]


async def test_t_010_nothing_missed_nothing_told(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.change_desired(D, {"a": 1})
    rig.take_told()
    rig.twins.link_down()
    await rig.link_up()
    assert rig.take_told() == []


async def test_a_gap_in_the_versions_is_closed_by_reading(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.settle()
    await rig.change_desired(D, {"a": 1}, arrives=False)
    await rig.change_desired(D, {"b": 1})
    assert rig.take_told() == [(D, 3, {"a": 1, "b": 1, "$version": 3})]


async def test_after_patches_that_went_astray_the_difference_is_told(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.get(D)
    await rig.change_desired(D, {"a": 1}, arrives=False)
    assert rig.take_told() == []
    rig.twins.desired_missed(IdentityId(D))
    await rig.settle()
    assert rig.take_told() == [(D, 2, {"a": 1, "$version": 2})]


async def test_without_a_stored_twin_a_patch_is_passed_on_as_it_is(rig: TwinsRig) -> None:
    rig.subscribe(D)
    rig.twins.desired_patch(IdentityId(D), {"a": 1, "$version": 9})
    assert rig.take_told() == [(D, 9, {"a": 1, "$version": 9})]
    assert rig.state.items("twins") == []
    assert (await rig.get(D))["desired"] == {}


async def test_who_was_told_that_there_is_nothing_hears_of_all(rig: TwinsRig) -> None:
    rig.subscribe(D)
    assert (await rig.get(D))["desired"] == {}
    await rig.change_desired(D, {"a": 1}, arrives=False)
    await rig.link_up()
    assert rig.take_told() == [(D, 2, {"a": 1, "$version": 2})]


async def test_a_change_while_the_twin_is_read_is_not_undone(rig: TwinsRig) -> None:
    """An answer that was made before the notification comes after it."""
    await rig.link_up()
    rig.subscribe(D)
    await rig.get(D)
    rig.parent.prepared = [await rig.parent.read_twin(D)]
    rig.parent.held.clear()
    asked = asyncio.ensure_future(rig.get(D))
    await rig.settle()
    await rig.change_desired(D, {"a": 1})
    rig.parent.held.set()
    assert (await asked)["desired"] == {"a": 1, "$version": 2}
    assert rig.take_told() == [(D, 2, {"a": 1, "$version": 2})]


async def test_a_twin_that_never_stands_still_is_not_turned_back(
    rig: TwinsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.link_up()
    rig.subscribe(D)
    await rig.get(D)
    read, count = rig.parent.read_twin, 0

    async def overtaken(identity: str) -> TwinDocument:
        nonlocal count
        count += 1
        document = await read(identity)
        rig.twins.desired_patch(IdentityId(D), rig.parent.change_desired(D, {"a": count}))
        return document

    with monkeypatch.context() as patch:
        patch.setattr(rig.parent, "read_twin", overtaken)
        assert (await rig.get(D))["desired"] == {"a": count, "$version": count + 1}
    assert [told[2]["a"] for told in rig.take_told()] == list(range(1, count + 1))
    await rig.change_desired(D, {"b": 1})
    assert rig.take_told() == [(D, count + 2, {"b": 1, "$version": count + 2})], "nothing was missed"


async def test_only_who_is_subscribed_is_followed_and_told(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.twins.connected(IdentityId(D))
    await rig.get(D)
    assert rig.parent.following == set()
    rig.subscribe(D)
    assert rig.parent.following == {D}
    rig.twins.subscriptions(IdentityId(D), NOTHING)
    assert rig.parent.following == set()
    rig.subscribe(D)
    rig.twins.disconnected(IdentityId(D))
    assert rig.parent.following == set()
    rig.twins.desired_patch(IdentityId(D), rig.parent.change_desired(D, {"a": 1}))
    assert rig.take_told() == []


async def test_who_takes_over_starts_without_subscriptions(rig: TwinsRig) -> None:
    rig.subscribe(D)
    rig.twins.connected(IdentityId(D))
    assert rig.parent.following == set()


async def test_reads_at_the_same_time_are_one(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.parent.held.clear()
    asked = [asyncio.ensure_future(rig.get(D)) for _ in range(5)]
    await rig.settle()
    rig.parent.held.set()
    await asyncio.gather(*asked)
    assert rig.parent.take() == [("read", D, None)]


async def test_who_only_reads_is_refreshed_when_the_copy_is_old(rig: TwinsRig) -> None:
    await rig.link_up()
    rig.twins.connected(IdentityId(D))
    await rig.get(D)
    rig.parent.take()
    await rig.link_up()
    assert rig.parent.take() == []
    rig.clock.advance(120)
    await rig.link_up()
    assert rig.parent.take() == [("read", D, None)]


async def test_an_identity_that_is_gone_leaves_nothing(rig: TwinsRig) -> None:
    await rig.report(D, {"a": 1})
    rig.twins.drop(IdentityId(D))
    await rig.link_up()
    assert rig.parent.take() == []
    assert rig.state.items("twins") == rig.state.items("twin-reports") == []
