"""Every row of tests/vectors/deployments/plans.json, and properties of all plans (rows P01 to P30)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.planner.plan import make_plan, retry_pause_s, shutdown_chains
from edgeagent.planner.situation import PlanSettings
from edgeagent.planner.steps import Create, Pull, Start
from testkit.plans import NOW_MS, settings_of, situation_of, words_of

ROWS = json.loads((Path(__file__).parents[3] / "vectors" / "deployments" / "plans.json").read_text())["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['row']}: {row['about']}")
def test_plan_vectors(row: dict[str, Any]) -> None:
    plan = make_plan(situation_of(row), settings_of(row))
    assert words_of(plan) == row["expect"]
    assert sorted(plan.waiting) == sorted(row.get("waiting", []))
    due_s = None if plan.due_ms is None else (plan.due_ms - NOW_MS) / 1000
    assert due_s == row.get("due")
    if "order" in row:
        assert list(plan.chains) == row["order"]


def test_p15_pauses_after_failures() -> None:
    assert [retry_pause_s(count, 10) for count in range(1, 8)] == [20, 40, 80, 160, 300, 300, 300]
    assert retry_pause_s(10_000, 10) == 300
    assert retry_pause_s(3, 0) == 0


def test_p28_p32_shutdown_stops_what_runs_but_the_agent() -> None:
    up = {"status": "running", "started": -5}
    ended = {"status": "stopped", "started": -5, "finished": -2}
    row = {"desired": {}, "current": {"edgeAgent": up, "a": up, "b": ended, "c": {"status": "unhealthy"}}}
    assert sorted(shutdown_chains(situation_of(row))) == ["a", "c"]


modules = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["running", "stopped"]),
        "restart_policy": st.sampled_from(["never", "on-failure", "on-unhealthy", "always"]),
        "image_pull_policy": st.sampled_from(["on-create", "never"]),
        "startup_order": st.integers(0, 3),
    },
)
containers = st.fixed_dictionaries(
    {"status": st.sampled_from(["running", "unhealthy", "stopped", "failed", "dead", "unknown"])},
    optional={
        "spec": st.sampled_from(["same", "other", None]),
        "started": st.integers(-2000, 50),
        "finished": st.integers(-2000, 50),
    },
)
names = st.sampled_from(["a", "b", "c", "edgeHub", "edgeAgent"])
counted = st.dictionaries(names, st.tuples(st.integers(1, 30), st.integers(-2000, 50)), max_size=3)
rows = st.fixed_dictionaries(
    {
        "desired": st.dictionaries(names, modules, max_size=5),
        "current": st.dictionaries(names, containers, max_size=5),
        "identities": st.lists(st.sampled_from(["a", "b", "c", "$edgeHub", "$edgeAgent"]), unique=True),
        "mode": st.sampled_from(["NonBlocking", "WaitForAllPulls"]),
        "restarts": counted,
        "failures": counted,
        "pulled": st.lists(st.sampled_from(["a:1", "b:1", "edgeHub:1"]), unique=True),
        "busy": st.lists(names, unique=True, max_size=2),
        "resume": st.lists(names, unique=True, max_size=2),
    }
)


@given(rows)
def test_no_plan_breaks_these_rules(row: dict[str, Any]) -> None:
    situation, settings = situation_of(row), settings_of(row)
    plan = make_plan(situation, settings)
    assert plan == make_plan(situation, settings)
    assert not set(plan.chains) & situation.busy
    for name, steps in plan.chains.items():
        assert steps
        module = situation.desired.modules.get(name)
        made = any(isinstance(step, Create) for step in steps)
        assert not made or (module is not None and module.identity in situation.identities)
        assert not (name == "edgeAgent" and made)
        for step in steps:
            if isinstance(step, Start):
                assert module is not None
                assert module.wants_running
            if isinstance(step, Pull):
                assert step.module.image not in situation.pulled


@given(rows)
def test_a_plan_without_steps_waits_for_something_or_is_done(row: dict[str, Any]) -> None:
    """Nothing is forgotten: a module that has no container as desired is in a chain, waits, or is busy."""
    situation = replace(situation_of(row), identities=frozenset(["a", "b", "c", "$edgeHub", "$edgeAgent"]))
    plan = make_plan(situation, PlanSettings())
    for name, module in situation.desired.modules.items():
        current = situation.current.get(name)
        made_as_desired = current is not None and current.spec_hash == module.spec_hash
        if made_as_desired or name == "edgeAgent":
            continue
        assert name in plan.chains or name in plan.waiting or name in situation.busy
