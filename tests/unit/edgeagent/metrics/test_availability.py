"""How long modules ran while they should (row X17)."""

from __future__ import annotations

from edgeagent.metrics.availability import Availability
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.model.module import Deployment, DesiredStatus, Module

RUNNING, FAILED = RuntimeStatus.RUNNING, RuntimeStatus.FAILED
M = Deployment({"m": Module("m", "m:1")})


def _now(status: RuntimeStatus = RUNNING) -> dict[str, CurrentModule]:
    return {"m": CurrentModule("m", "m:1", status)}


def _times(availability: Availability, name: str = "m") -> tuple[float, float]:
    uptime = availability.modules[name]
    return uptime.running_s, uptime.expected_s


def test_both_grow_while_it_runs_and_one_while_it_does_not() -> None:
    availability = Availability()
    availability.note(M, _now(), 100)
    assert _times(availability) == (0, 0)
    availability.note(M, _now(), 105)
    availability.note(M, _now(FAILED), 112)
    availability.note(M, {}, 113)
    assert _times(availability) == (5, 13)


def test_a_module_that_is_unhealthy_does_not_run_correctly() -> None:
    availability = Availability()
    for second in (0, 5):
        availability.note(M, _now(RuntimeStatus.UNHEALTHY), second)
    assert _times(availability) == (0, 5)


def test_time_of_a_module_that_need_not_run_does_not_count() -> None:
    stopped = Deployment({"m": Module("m", "m:1", status=DesiredStatus.STOPPED)})
    availability = Availability()
    availability.note(stopped, _now(), 0)
    assert "m" not in availability.modules
    availability.note(M, _now(), 5)
    availability.note(M, _now(), 10)
    availability.note(stopped, _now(), 15)
    availability.note(M, _now(), 20)
    availability.note(M, _now(), 21)
    assert _times(availability) == (6, 6)


def test_nothing_is_counted_of_modules_while_the_engine_does_not_answer() -> None:
    availability = Availability()
    availability.note(M, _now(), 0)
    availability.note(M, None, 50)
    availability.note(M, _now(), 100)
    availability.note(M, _now(), 103)
    assert _times(availability) == (3, 3)
    assert _times(availability, "edgeAgent") == (103, 103)


def test_a_module_that_left_the_deployment_is_forgotten() -> None:
    availability = Availability()
    availability.note(M, _now(), 0)
    availability.note(Deployment({}), _now(), 5)
    assert set(availability.modules) == {"edgeAgent"}


def test_the_agent_counts_always_and_its_time_away_too() -> None:
    availability = Availability(downtime_s=40)
    availability.note(None, None, 0)
    availability.note(Deployment({"edgeAgent": Module("edgeAgent", "a:1")}), {}, 10)
    assert _times(availability, "edgeAgent") == (10, 50)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    availability = Availability()
    availability.note(M, _now(), 10)
    availability.note(M, _now(), 5)
    assert _times(availability) == (0, 0)
