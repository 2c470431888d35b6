"""The digest that tells whether a container has to be made anew (agent spec 2.3, rows M27, P06)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeagent.model.module import DesiredStatus, ImagePullPolicy, Module, RestartPolicy

MODULE = Module(
    "m", "m:1", {"HostConfig": {"Binds": ["/a:/b"], "Init": True}, "Env": ["A=1"]}, env={"B": "2"}
)


def test_order_of_members_makes_no_difference() -> None:
    turned = {"Env": ["A=1"], "HostConfig": {"Init": True, "Binds": ["/a:/b"]}}
    assert replace(MODULE, create_options=turned).spec_hash == MODULE.spec_hash


def test_p06_the_desired_status_needs_no_other_container() -> None:
    assert replace(MODULE, status=DesiredStatus.STOPPED).spec_hash == MODULE.spec_hash


@pytest.mark.parametrize(
    "change",
    [
        {"image": "m:2"},
        {"create_options": {}},
        {"create_options": {"HostConfig": {"Binds": ["/a:/b"], "Init": 1}, "Env": ["A=1"]}},
        {"digest": "x"},
        {"restart_policy": RestartPolicy.ALWAYS},
        {"image_pull_policy": ImagePullPolicy.NEVER},
        {"startup_order": 1},
        {"version": "1"},
        {"env": {"B": "3"}},
    ],
    ids=str,
)
def test_everything_else_does(change: dict[str, object]) -> None:
    assert replace(MODULE, **change).spec_hash != MODULE.spec_hash  # type: ignore[arg-type]


def test_identities_of_system_modules_begin_with_a_dollar() -> None:
    assert [Module(name, "x").identity for name in ("edgeAgent", "edgeHub", "m")] == [
        "$edgeAgent",
        "$edgeHub",
        "m",
    ]
