"""When the link connects, waits and renews."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.link.connectivity import (
    RENEW_GRACE_S,
    STABLE_S,
    WAIT_S_MAX,
    WAIT_S_MIN,
    Action,
    Connectivity,
    State,
)


def opened(now: float = 0.0, renew_at: float = 1000.0) -> Connectivity:
    machine = Connectivity(lambda: 1.0)
    assert machine.poll(now) is Action.OPEN
    machine.opened(now, renew_at)
    return machine


def test_it_opens_at_once() -> None:
    machine = Connectivity(lambda: 0.0)
    assert machine.poll(0.0) is Action.OPEN
    assert machine.state is State.OPENING
    assert machine.deadline is None
    assert machine.poll(0.0) is Action.NONE


@pytest.mark.parametrize(
    ("chance", "waits"),
    [(1.0, [1, 2, 4, 8, 16, 32, 60, 60]), (0.0, [1, 1, 2, 4, 8, 16, 30, 30])],
)
def test_waits_double_and_are_spread(chance: float, waits: list[float]) -> None:
    machine = Connectivity(lambda: chance)
    now = 0.0
    for wait in waits:
        assert machine.poll(now) is Action.OPEN
        assert machine.failed(now) == wait
        assert machine.deadline == now + wait
        assert machine.poll(now + wait - 0.01) is Action.NONE
        now += wait


def test_a_good_connection_begins_anew() -> None:
    machine = Connectivity(lambda: 1.0)
    for _ in range(5):
        machine.failed(0.0)
    machine.opened(100.0, 1000.0)
    assert machine.lost(100.0 + STABLE_S) == 1


def test_one_that_never_lasts_waits_longer_each_time() -> None:
    machine = opened()
    waits = []
    for _ in range(4):
        machine.opened(0.0, 1000.0)
        waits.append(machine.lost(STABLE_S - 1))
    assert waits == [1, 2, 4, 8]


def test_renewal() -> None:
    machine = opened(renew_at=1000.0)
    assert machine.deadline == 1000.0
    assert machine.poll(999.0) is Action.NONE
    assert machine.poll(1000.0) is Action.RENEW
    assert machine.state is State.OPENING


def test_renewal_waits_for_what_is_in_flight_but_not_for_ever() -> None:
    machine = opened(renew_at=1000.0)
    assert machine.poll(1000.0, in_flight=True) is Action.NONE
    assert machine.deadline == 1000.5
    assert machine.poll(1000.5) is Action.RENEW

    machine = opened(renew_at=1000.0)
    now = 1000.0
    while machine.poll(now, in_flight=True) is Action.NONE:
        assert machine.deadline is not None
        assert now < machine.deadline <= 1000.0 + RENEW_GRACE_S
        now = machine.deadline
    assert now == 1000.0 + RENEW_GRACE_S


def test_a_failed_renewal_is_a_failure_like_others() -> None:
    machine = opened(renew_at=10.0)
    machine.poll(10.0)
    assert machine.failed(11.0) == 1
    assert machine.state is State.WAITING


@given(st.lists(st.sampled_from(["failed", "lost", "opened"]), max_size=60), st.floats(0, 0.999))
def test_waits_stay_in_their_bounds(steps: list[str], chance: float) -> None:
    machine, now = Connectivity(lambda: chance), 0.0
    for step in steps:
        if step == "opened":
            machine.opened(now, now + 100)
        else:
            wait = machine.failed(now) if step == "failed" else machine.lost(now)
            assert WAIT_S_MIN <= wait <= WAIT_S_MAX
            now += wait
        now += 7.0
