"""When the twin is read, and what patches do (rows O01 to O04)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.source.desired import Desired
from edgeagent.source.twin_state import (
    CONNECT_READ_PERIOD_S,
    DEPTH_MAX,
    REFRESH_S,
    RETRY_S_MAX,
    RETRY_S_MIN,
    TwinState,
    merge,
)

LONG_AGO = -1000.0


def known(version: int = 5, document: dict[str, Any] | None = None, now: float = LONG_AGO) -> TwinState:
    """A state that has read the twin."""
    state = TwinState()
    state.connected(now)
    assert state.should_read(now)
    assert state.read(Desired(version, document or {"a": 1, "b": {"c": 2}}), now)
    return state


@pytest.mark.parametrize(
    ("patch", "wanted"),
    [
        ({"a": 2}, {"a": 2, "b": {"c": 2}}),
        ({"a": None}, {"b": {"c": 2}}),
        ({"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"b": {"c": None}}, {"a": 1, "b": {}}),
        ({"a": {"x": None, "y": 1}}, {"a": {"y": 1}, "b": {"c": 2}}),
        ({"b": 7}, {"a": 1, "b": 7}),
        ({"b": [1, {"n": None}]}, {"a": 1, "b": [1, {"n": None}]}),
        ({}, {"a": 1, "b": {"c": 2}}),
    ],
)
def test_o01_the_next_patch_is_merged(patch: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Row O01: null takes away."""
    state = known(5)
    assert state.patch(6, patch, 0.0) == Desired(6, wanted)
    assert state.desired == Desired(6, wanted)
    assert not state.should_read(0.0)


def test_the_known_document_is_not_changed_by_a_patch() -> None:
    document = {"b": {"c": 2}}
    known(5, document).patch(6, {"b": {"c": None}}, 0.0)
    assert document == {"b": {"c": 2}}


@pytest.mark.parametrize("version", [7, 100, 5, 4, 1])
def test_o02_a_gap_causes_a_read(version: int) -> None:
    """Row O02, and a version that goes back: the identity was made anew."""
    state = known(5)
    assert state.patch(version, {"a": 2}, 0.0) is None
    assert state.desired is not None
    assert state.desired.version == 5
    assert state.should_read(0.0)
    assert not state.should_read(0.0)
    assert state.read(Desired(version, {"z": 1}), 1.0) == Desired(version, {"z": 1})


def test_o03_one_read_per_connection() -> None:
    """Row O03: at most one in 30 s; more are put off to one."""
    state = known(now=0.0)
    for now in (1.0, 2.0, 3.0):
        state.disconnected()
        assert state.deadline is None
        state.connected(now)
    assert state.deadline == CONNECT_READ_PERIOD_S
    assert not state.should_read(CONNECT_READ_PERIOD_S - 0.1)
    assert state.should_read(CONNECT_READ_PERIOD_S)
    state.read(Desired(5, {}), 31.0)
    assert state.deadline == 31.0 + REFRESH_S


def test_a_connection_after_a_read_that_failed_reads_at_once() -> None:
    state = TwinState()
    state.connected(0.0)
    assert state.should_read(0.0)
    state.disconnected()
    state.failed(1.0)
    assert state.deadline is None
    state.connected(2.0)
    assert state.should_read(2.0)


def test_o04_the_twin_is_read_every_hour() -> None:
    """Row O04."""
    state = known(now=0.0)
    assert state.deadline == REFRESH_S
    state.patch(6, {}, 100.0)
    assert state.deadline == REFRESH_S
    assert state.should_read(REFRESH_S)


def test_reads_that_fail_are_tried_again_after_longer_and_longer() -> None:
    state, now, waits = TwinState(), 0.0, []
    state.connected(now)
    for _ in range(7):
        assert state.should_read(now)
        waits.append(state.failed(now))
        now += waits[-1]
    assert waits == [RETRY_S_MIN, 4, 8, 16, 32, RETRY_S_MAX, RETRY_S_MAX]


def test_a_patch_overtakes_the_answer() -> None:
    """The answer is older than what is known already: it is asked for once more."""
    state = known(5, now=0.0)
    assert state.should_read(REFRESH_S)
    assert state.patch(6, {"a": 2}, REFRESH_S)
    assert state.read(Desired(5, {"a": 1}), REFRESH_S) is None
    assert state.desired is not None
    assert state.desired.version == 6
    assert state.deadline == REFRESH_S + RETRY_S_MIN


def test_a_patch_that_the_answer_knows_of() -> None:
    state = TwinState()
    state.connected(0.0)
    state.should_read(0.0)
    assert state.patch(8, {"a": 2}, 0.0) is None
    assert state.read(Desired(8, {"a": 2}), 1.0)
    assert state.deadline == 1.0 + REFRESH_S


def test_a_patch_that_the_answer_does_not_know_of() -> None:
    state = TwinState()
    state.connected(0.0)
    state.should_read(0.0)
    assert state.patch(8, {"a": 2}, 0.0) is None
    assert state.read(Desired(7, {"a": 1}), 1.0) == Desired(7, {"a": 1})
    assert state.deadline == 1.0 + RETRY_S_MIN


def test_a_lower_version_is_believed() -> None:
    state = known(50, now=0.0)
    assert state.should_read(REFRESH_S)
    assert state.read(Desired(2, {}), REFRESH_S) == Desired(2, {})


def nested(depth: int) -> dict[str, Any]:
    return {"x": nested(depth - 1)} if depth else {}


def test_a_patch_that_is_nested_too_deep_causes_a_read() -> None:
    assert merge({}, nested(DEPTH_MAX)) == nested(DEPTH_MAX)
    state = known(5)
    assert state.patch(6, nested(DEPTH_MAX + 1), 0.0) is None
    assert state.should_read(0.0)


values = st.recursive(
    st.none() | st.integers(0, 2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def without_nulls(value: Any) -> bool:
    return value is not None and (not isinstance(value, dict) or all(map(without_nulls, value.values())))


@given(objects, objects)
def test_a_merged_section_has_no_nulls_and_merging_twice_changes_nothing(
    section: dict[str, Any], patch: dict[str, Any]
) -> None:
    merged = merge(merge({}, section), patch)
    assert without_nulls(merged)
    assert merge(merged, patch) == merged


@given(
    st.lists(
        st.tuples(st.sampled_from(["up", "down", "patch", "read", "fail"]), st.integers(1, 9)), max_size=40
    )
)
def test_there_is_never_more_than_one_read_and_always_a_next_one(steps: list[tuple[str, int]]) -> None:
    state, now, reading, up = TwinState(), 0.0, False, False
    for step, version in steps:
        now += 1.0
        if step == "up":
            state.connected(now)
            up = True
        elif step == "down":
            state.disconnected()
            up = False
        elif step == "patch":
            state.patch(version, {"a": version}, now)
        elif reading:
            reading = False
            if step == "read":
                state.read(Desired(version, {}), now)
            else:
                state.failed(now)
        if state.should_read(now):
            assert not reading
            reading = True
        assert (state.deadline is not None) == (up and not reading)
