"""Statuses as they are reported (table of agent spec 1.9), and the pauses between restarts."""

from __future__ import annotations

import pytest

from edgeagent.model.current import Restarts, RuntimeStatus
from edgeagent.planner.restart import RestartSettings, cool_off_s, effective_status
from testkit.plans import current_of, module_of

POLICIES = ("never", "on-failure", "on-unhealthy", "always")
TABLE = [
    ("stopped", ("stopped", "stopped", "stopped", "backoff")),
    ("failed", ("failed", "backoff", "backoff", "backoff")),
    ("dead", ("dead", "dead", "dead", "dead")),
    ("unknown", ("unknown", "unknown", "unknown", "unknown")),
    ("running", ("running", "running", "running", "running")),
    ("unhealthy", ("unhealthy", "unhealthy", "backoff", "backoff")),
]
CASES = [
    (engine, policy, shown) for engine, row in TABLE for policy, shown in zip(POLICIES, row, strict=True)
]


@pytest.mark.parametrize(("engine", "policy", "shown"), CASES)
def test_status_of_a_module_that_should_run(engine: str, policy: str, shown: str) -> None:
    module = module_of("m", {"restart_policy": policy})
    current = current_of("m", {"status": engine, "started": -60, "finished": -5}, module)
    assert effective_status(module, current, None, RestartSettings()) == shown


@pytest.mark.parametrize(("engine", "policy", "shown"), CASES)
def test_p23_status_after_twenty_restarts(engine: str, policy: str, shown: str) -> None:
    module = module_of("m", {"restart_policy": policy})
    current = current_of("m", {"status": engine, "started": -60, "finished": -5}, module)
    expected = "failed" if shown == "backoff" else shown
    assert effective_status(module, current, Restarts(20, 0), RestartSettings()) == expected


@pytest.mark.parametrize("engine", [status.value for status in RuntimeStatus if status != "backoff"])
def test_status_of_a_module_that_should_stand_still(engine: str) -> None:
    module = module_of("m", {"status": "stopped", "restart_policy": "always"})
    current = current_of("m", {"status": engine, "started": -60, "finished": -5}, module)
    assert effective_status(module, current, None, RestartSettings()) == engine


def test_a_container_that_never_ran_is_stopped() -> None:
    module = module_of("m", {"restart_policy": "always"})
    current = current_of("m", {"status": "stopped"}, module)
    assert effective_status(module, current, None, RestartSettings()) is RuntimeStatus.STOPPED


def test_p18_cool_off() -> None:
    assert [cool_off_s(count, 10) for count in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    assert cool_off_s(10_000, 10) == 300
    assert cool_off_s(3, 0) == 0
