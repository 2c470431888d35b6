"""Counters of steps, syncs and methods (row X17)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.metrics.totals import OTHER, SERIES_MAX, AgentTotals, LabelCounter, command_of
from edgeagent.model.module import Deployment, Module
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Remove, Start, Step, Stop, UpdateAgent

OLD = Module("m", "m:1", version="1")
NEW = Module("m", "m:2", version="2")
AGENT = Module("edgeAgent", "agent:2", version="9")


class Totals:
    """Counts on a clock that stands still."""

    def __init__(self) -> None:
        self.totals = AgentTotals(3600, lambda: 5.0)

    def did(self, *steps: Step, failed: bool = False) -> None:
        for step in steps:
            self.totals.step_ended(step, 0.5, failed=failed)


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (Pull(OLD), "prepareUpdate"),
        (Create(OLD), "create"),
        (UpdateAgent(AGENT), "update"),
        (Start("m"), "start"),
        (Start("m", counts=True), "restart"),
        (Stop("m"), "stop"),
        (Remove("m"), "remove"),
        (ForgetRestarts("m"), None),
    ],
)
def test_x17_the_command_of_a_step(step: Step, command: str | None) -> None:
    assert command_of(step) == command
    counted = Totals()
    counted.did(step)
    observed = {name for name, summary in counted.totals.latency.items() if summary.count}
    assert observed == ({command} if command else set())


def test_x17_a_new_module_counts_two_starts() -> None:
    counted = Totals()
    counted.totals.deployment(Deployment({"m": OLD}))
    counted.did(Pull(OLD), Create(OLD), Start("m"))
    assert counted.totals.pulls.rows() == [(("m", "1"), 1)]
    assert counted.totals.starts.rows() == [(("m", "1"), 2)]
    assert counted.totals.latency["start"].sum == 0.5


def test_x17_an_update_counts_what_stopped_and_what_started() -> None:
    counted = Totals()
    counted.totals.deployment(Deployment({"m": OLD}))
    counted.did(Create(OLD), Start("m"))
    counted.totals.deployment(Deployment({"m": NEW}))
    counted.did(Stop("m"), Remove("m"), Create(NEW), Start("m"))
    assert counted.totals.stops.rows() == [(("m", "1"), 2)]
    assert counted.totals.starts.rows() == [(("m", "1"), 2), (("m", "2"), 2)]


def test_x17_after_a_start_of_the_agent_the_version_is_the_deployments_or_blank() -> None:
    counted = Totals()
    counted.did(Stop("gone"))
    counted.totals.deployment(Deployment({"m": NEW}))
    counted.did(Stop("m"))
    assert counted.totals.stops.rows() == [(("gone", ""), 1), (("m", "2"), 1)]


def test_a_step_that_failed_was_tried_and_its_container_stays() -> None:
    counted = Totals()
    counted.did(Create(OLD))
    counted.did(Remove("m"), failed=True)
    counted.did(Stop("m"))
    assert counted.totals.stops.rows() == [(("m", "1"), 2)]


def test_x17_a_restart_is_no_start() -> None:
    counted = Totals()
    counted.did(Start("m", counts=True), Start("m", counts=True))
    assert counted.totals.starts.rows() == []
    assert counted.totals.restarts.rows() == [(("m",), 2)]


def test_an_update_of_the_agent_counts_both() -> None:
    counted = Totals()
    counted.totals.deployment(Deployment({"edgeAgent": AGENT}))
    counted.did(UpdateAgent(AGENT))
    assert counted.totals.stops.rows() == counted.totals.starts.rows() == [(("edgeAgent", "9"), 1)]


def test_the_time_of_a_deployment() -> None:
    counted = Totals()
    counted.totals.work_ended(2.5)
    assert (counted.totals.deployment_s.count, counted.totals.deployment_s.sum) == (1, 2.5)


def test_labels_without_end_are_counted_together() -> None:
    counter = LabelCounter()
    for number in range(SERIES_MAX + 3):
        counter.add("m", str(number))
    counter.add("m", "0")
    rows = dict(counter.rows())
    assert len(rows) == SERIES_MAX + 1
    assert rows[OTHER, OTHER] == 3
    assert rows["m", "0"] == 2


async def test_methods_are_counted_also_when_they_fail() -> None:
    async def good(payload: Any) -> Any:
        return payload

    async def bad(payload: Any) -> Any:
        raise ValueError(payload)

    counted = Totals()
    handlers = counted.totals.counting_methods({"ping": good, "RestartModule": bad})
    assert await handlers["ping"](1) == 1
    with pytest.raises(ValueError, match="2"):
        await handlers["RestartModule"](2)
    assert counted.totals.methods.rows() == [(("RestartModule",), 1), (("ping",), 1)]
