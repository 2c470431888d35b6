"""Reported properties of `$edgeHub` (I-022, I-023, C11 to C13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.config.desired import merge_patch
from edgehub.hub.reported import ReportedState, client_key, utc_text
from edgehub.hub.routes import ConfigStatus

DEVICE, MODULE, HUB = IdentityId("leaf"), IdentityId("edge1", "m"), IdentityId("edge1", "$edgeHub")
T = "2023-11-14T22:13:20.500Z"
NOW_S = 1_700_000_000.5


def started() -> ReportedState:
    state = ReportedState("0.1.0")
    state.take()
    return state


def test_the_first_patch_clears_the_clients() -> None:
    state = ReportedState("0.1.0")
    state.connected(DEVICE, NOW_S)
    assert state.take() == {
        "schemaVersion": "1.0",
        "version": {"version": "0.1.0", "build": "", "commit": ""},
        "clients": None,
    }
    assert state.take() == {"clients": {"leaf": {"status": "Connected", "lastConnectedTimeUtc": T}}}
    assert state.take() is None
    assert not state.pending


def test_the_status_of_a_configuration_touches_no_client() -> None:
    state = started()
    state.configured(ConfigStatus(400, "why", 7))
    assert state.take() == {
        "lastDesiredVersion": 7,
        "lastDesiredStatus": {"code": 400, "description": "why"},
        "clients": {},
    }


def test_a_status_without_version() -> None:
    state = started()
    state.configured(ConfigStatus(200))
    assert state.take() == {"lastDesiredStatus": {"code": 200, "description": ""}, "clients": {}}


def test_i_022_a_device_disappears_and_a_module_stays() -> None:
    state = started()
    for identity in (DEVICE, MODULE):
        state.connected(identity, NOW_S)
        state.disconnected(identity, NOW_S)
    assert state.take() == {
        "clients": {
            "leaf": None,
            "edge1/m": {
                "status": "Disconnected",
                "lastConnectedTimeUtc": T,
                "lastDisconnectedTimeUtc": T,
            },
        }
    }


def test_hubs_are_not_listed() -> None:
    state = started()
    state.connected(HUB, NOW_S)
    state.disconnected(HUB, NOW_S)
    assert not state.pending


def test_a_patch_that_failed_is_sent_again_with_what_came_after() -> None:
    state = ReportedState("0.1.0")
    first = state.take()
    assert first is not None
    state.put_back(first)
    assert state.take() == first
    state.configured(ConfigStatus(200, "", 1))
    state.connected(MODULE, NOW_S)
    state.connected(DEVICE, NOW_S)
    failed = state.take()
    assert failed is not None
    state.configured(ConfigStatus(400, "why", 2))
    state.disconnected(MODULE, NOW_S + 1)
    state.disconnected(DEVICE, NOW_S)
    state.put_back(failed)
    assert state.take() == {
        "lastDesiredVersion": 2,
        "lastDesiredStatus": {"code": 400, "description": "why"},
        "clients": {
            "edge1/m": {
                "status": "Disconnected",
                "lastConnectedTimeUtc": T,
                "lastDisconnectedTimeUtc": "2023-11-14T22:13:21.500Z",
            },
            "leaf": None,
        },
    }


@pytest.mark.parametrize(
    ("identity", "key"),
    [
        (IdentityId("a.b$c d"), "a%2Eb%24c%20d"),
        (IdentityId("edge1", "m.1"), "edge1/m%2E1"),
        (IdentityId("plain-1_x"), "plain-1_x"),
    ],
)
def test_i_023_keys(identity: IdentityId, key: str) -> None:
    assert client_key(identity) == key


def test_times() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["connect", "disconnect", "send", "fail"]), st.sampled_from([DEVICE, MODULE])),
    max_size=30,
)


@given(ACTIONS)
def test_the_twin_ends_up_right_whatever_fails(actions: list[tuple[str, IdentityId]]) -> None:
    state, twin, truth = ReportedState("v"), dict[str, Any](), dict[str, str]()
    for number, (action, identity) in enumerate(actions):
        key = client_key(identity)
        if action == "connect":
            state.connected(identity, number)
            truth[key] = "Connected"
        elif action == "disconnect":
            state.disconnected(identity, number)
            truth[key] = "Disconnected"
        else:
            patch = state.take()
            if patch is not None and action == "send":
                twin = merge_patch(twin, patch)
            elif patch is not None:
                state.put_back(patch)
    while (patch := state.take()) is not None:
        twin = merge_patch(twin, patch)
    shown = {key: entry["status"] for key, entry in twin.get("clients", {}).items()}
    assert shown == {key: status for key, status in truth.items() if "/" in key or status == "Connected"}


def test_what_is_refused_for_good_makes_room_for_the_status() -> None:
    state = ReportedState("v")
    state.take()
    state.configured(ConfigStatus(400, "bad", 7))
    state.connected(IdentityId("d1"), 0)
    state.disconnected(IdentityId("d2"), 0)
    patch = state.take()
    assert patch is not None
    state.refused(patch)
    second = state.take()
    assert second == {**patch, "clients": {"d2": None}}, "what makes the twin smaller"
    state.refused(second)
    third = state.take()
    assert third == {**patch, "clients": {}}
    state.refused(third)
    assert not state.pending


def test_what_came_after_a_refused_patch_is_told() -> None:
    state = ReportedState("v")
    state.take()
    state.connected(IdentityId("d1"), 0)
    patch = state.take()
    assert patch is not None
    state.disconnected(IdentityId("d1"), 1)
    state.refused(patch)
    assert state.take() == {"clients": {"d1": None}}


def test_a_description_is_cut_to_what_a_twin_can_hold() -> None:
    state = ReportedState("v")
    state.take()
    state.configured(ConfigStatus(400, "x" + "\u00e9" * 3000))
    patch = state.take()
    assert patch is not None
    assert patch["lastDesiredStatus"]["description"] == "x" + "\u00e9" * 2047
