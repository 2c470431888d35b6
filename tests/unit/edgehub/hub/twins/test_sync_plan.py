"""Whose twin is synchronised when (heads spec 7.3, 7.4; T-008)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.hub.twins.sync_plan import RETRY_MAX_S, RETRY_MIN_S, RUNNING_MAX, SyncPlan, Turn

A, B = IdentityId("a"), IdentityId("b", "m")


def online(gap_s: float = 5.0) -> SyncPlan:
    plan = SyncPlan(gap_s)
    plan.link_up()
    return plan


def test_nothing_happens_offline() -> None:
    plan = SyncPlan(5.0)
    plan.push(A)
    assert (plan.take(0.0), plan.due_at()) == ([], None)
    plan.link_up()
    assert plan.due_at() == 0.0
    assert plan.take(0.0) == [Turn(A, True, False)]


def test_all_that_is_wanted_is_one_turn() -> None:
    plan = online()
    plan.push(A)
    plan.compare(B)
    plan.compare(A)
    assert plan.take(0.0) == [Turn(A, True, True), Turn(B, False, True)]
    assert plan.due_at() is None


def test_pushes_of_one_identity_keep_their_distance() -> None:
    plan = online(gap_s=5.0)
    plan.push(A)
    (turn,) = plan.take(10.0)
    plan.push(A)
    assert plan.take(10.0) == []
    plan.finished(turn, 12.0)
    assert plan.due_at() == 17.0
    assert plan.take(16.9) == []
    assert plan.take(17.0) == [turn]


def test_a_link_that_comes_back_ends_all_waits() -> None:
    plan = online()
    plan.push(A)
    (turn,) = plan.take(0.0)
    plan.link_down()
    plan.failed(turn, 1.0, left=turn)
    assert (plan.take(100.0), plan.due_at()) == ([], None)
    plan.link_up()
    assert plan.take(1.0) == [turn]


def test_failures_wait_longer_and_longer() -> None:
    plan = online()
    plan.compare(A)
    now, waits = 0.0, []
    for _ in range(20):
        (turn,) = plan.take(now)
        plan.failed(turn, now, left=turn)
        due = plan.due_at()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits[:3] == [RETRY_MIN_S, 2 * RETRY_MIN_S, 4 * RETRY_MIN_S]
    assert waits[-1] == RETRY_MAX_S
    (turn,) = plan.take(now)
    plan.finished(turn, now)
    assert len(plan) == 0


def test_only_what_is_left_of_a_failed_turn_is_done_again() -> None:
    plan = online()
    plan.push(A)
    plan.compare(A)
    (turn,) = plan.take(0.0)
    plan.failed(turn, 0.0, left=turn._replace(push=False))
    assert plan.take(RETRY_MIN_S) == [Turn(A, False, True)]


def test_so_many_at_once_and_the_others_in_turn() -> None:
    plan = online(gap_s=0.0)
    identities = [IdentityId(f"d{number}") for number in range(RUNNING_MAX + 2)]
    for identity in identities:
        plan.push(identity)
    first = plan.take(0.0)
    assert [turn.identity for turn in first] == identities[:RUNNING_MAX]
    assert plan.due_at() is None
    plan.push(first[0].identity)
    plan.finished(first[0], 0.0)
    plan.finished(first[1], 0.0)
    assert [turn.identity for turn in plan.take(0.0)] == identities[RUNNING_MAX:]


def test_who_is_forgotten_wants_nothing() -> None:
    plan = online()
    plan.push(A)
    plan.forget(A)
    plan.forget(B)
    assert len(plan) == 0
    plan.push(A)
    (turn,) = plan.take(0.0)
    plan.push(A)
    plan.forget(A)
    plan.finished(turn, 0.0)
    assert plan.take(100.0) == []


@given(st.lists(st.tuples(st.sampled_from("pcfxud"), st.integers(0, 12)), max_size=60))
def test_whatever_happens_nobody_is_worked_on_twice_or_lost(steps: list[tuple[str, int]]) -> None:
    plan, now = online(), 0.0
    running: dict[IdentityId, Turn] = {}
    wanted: set[IdentityId] = set()
    for kind, number in steps:
        now += 1.0
        identity = IdentityId(f"d{number}")
        if kind == "p":
            plan.push(identity)
            wanted.add(identity)
        elif kind == "c":
            plan.compare(identity)
            wanted.add(identity)
        elif kind == "u":
            plan.link_up()
        elif kind == "d":
            plan.link_down()
        elif running:
            turn = running.pop(sorted(running)[number % len(running)])
            if kind == "f":
                plan.finished(turn, now)
            else:
                plan.failed(turn, now, left=turn)
                wanted.add(turn.identity)
        for turn in plan.take(now):
            assert turn.identity not in running
            running[turn.identity] = turn
            wanted.discard(turn.identity)
        assert len(running) <= RUNNING_MAX
    plan.link_up()
    for _ in range(5):
        for turn in running.values():
            plan.finished(turn, now)
        now += RETRY_MAX_S
        running = {turn.identity: turn for turn in plan.take(now)}
        wanted -= running.keys()
    assert not wanted
