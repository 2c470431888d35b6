"""When what is reported (rows R01 to R12)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.link.errors import LinkDownError, LinkTimeoutError, RequestRefusedError
from edgeagent.manifest.errors import ManifestFormatError
from edgeagent.report.diff import applied
from edgeagent.report.outcome import Outcome, outcome_of_faults
from edgeagent.report.reporter import REFUSED_WAIT_S, Reporter
from edgeagent.report.size import PATCH_BYTES_MAX, size_of
from edgeagent.report.state import reported_state
from unit.edgeagent.report.samples import container, deployment, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping


class Hub:
    """Holds the reported properties."""

    def __init__(self) -> None:
        self.reported: dict[str, Any] = {}
        self.patches: list[Mapping[str, Any]] = []
        self.faults: list[Exception] = []

    async def merge(self, patch: Mapping[str, Any]) -> int:
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        self.patches.append(patch)
        self.reported = applied(self.reported, patch)
        return len(self.patches)


def started() -> tuple[Reporter, Hub]:
    hub = Hub()
    reporter = Reporter(hub.merge)
    reporter.sync({})
    return reporter, hub


async def test_nothing_is_reported_before_the_twin_is_known() -> None:
    hub = Hub()
    reporter = Reporter(hub.merge)
    assert not await reporter.report(snapshot(), 0.0)
    assert not await reporter.shutdown(0.0)
    assert reporter.last_desired_version is None
    assert not hub.patches


async def test_r08_a_second_identical_state_sends_nothing() -> None:
    """Row R08."""
    reporter, hub = started()
    assert await reporter.report(snapshot(), 0.0)
    assert hub.reported == reported_state(snapshot())
    assert reporter.last_desired_version == 11
    assert await reporter.report(snapshot(), 0.0)
    assert len(hub.patches) == 1


async def test_only_the_difference_is_sent() -> None:
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    await reporter.report(snapshot(version=12), 0.0)
    assert hub.patches[1] == {"lastDesiredVersion": 12}


async def test_r09_a_module_that_is_gone_is_null() -> None:
    """Row R09."""
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    current = {name: container(name) for name in ("edgeAgent", "edgeHub")}
    await reporter.report(snapshot(current=current), 0.0)
    assert hub.patches[1] == {"modules": {"sensor": None}}


async def test_r03_and_r04_a_bad_deployment() -> None:
    """Rows R03 and R04: the modules are reported as before, and the version does not advance."""
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    bad = outcome_of_faults([ManifestFormatError("modules.m", "odd")])
    await reporter.report(snapshot(outcome=bad), 0.0)
    assert hub.patches[1]["lastDesiredStatus"]["code"] == 400
    assert set(hub.patches[1]) == {"lastDesiredStatus"}
    assert hub.reported["lastDesiredVersion"] == 11


@pytest.mark.parametrize(
    "reported",
    [
        {"modules": 5, "systemModules": "x", "lastDesiredVersion": {"a": 1}},
        {"integrity": {"a": 1}, "modules": {"sensor": [1], "other": None}},
        {"lastDesiredVersion": True},
    ],
)
async def test_r10_whatever_was_reported_before_the_full_state_follows(reported: dict[str, Any]) -> None:
    """Row R10."""
    reporter, hub = started()
    hub.reported = dict(reported)
    reporter.sync(reported)
    assert reporter.last_desired_version is None
    assert await reporter.report(snapshot(), 0.0)
    assert hub.reported == reported_state(snapshot())


async def test_r11_a_state_that_cannot_be_built(caplog: pytest.LogCaptureFixture) -> None:
    """Row R11: the rest stays as it was."""
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    assert await reporter.report(snapshot(version=12, statuses={"sensor": "nonsense"}), 0.0)
    assert hub.patches[1]["lastDesiredVersion"] == 12
    assert hub.patches[1]["lastDesiredStatus"]["code"] == 500
    assert set(hub.patches[1]) == {"lastDesiredVersion", "lastDesiredStatus"}
    assert "sensor" in hub.reported["modules"]
    assert caplog.records


@pytest.mark.parametrize("fault", [LinkDownError("x"), LinkTimeoutError("x"), OSError("x")])
async def test_r12_a_failed_send_is_sent_again(fault: Exception) -> None:
    """Row R12."""
    reporter, hub = started()
    hub.faults = [fault]
    assert not await reporter.report(snapshot(), 0.0)
    assert reporter.last_desired_version is None
    assert await reporter.report(snapshot(), 0.0)
    assert hub.reported == reported_state(snapshot())


async def test_o10_offline_reporting_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """Row O10: without a warning for each round."""
    reporter, hub = started()
    hub.faults = [LinkDownError("offline")] * 3
    for _ in range(3):
        assert not await reporter.report(snapshot(), 0.0)
    assert not caplog.records
    assert await reporter.report(snapshot(), 0.0)


async def test_a_refusal_is_not_repeated_at_once() -> None:
    reporter, hub = started()
    hub.faults = [RequestRefusedError("reported properties", 400)]
    assert not await reporter.report(snapshot(), 0.0)
    assert not await reporter.report(snapshot(), REFUSED_WAIT_S - 1)
    assert not hub.patches
    assert await reporter.report(snapshot(), REFUSED_WAIT_S)


async def test_what_was_wiped_is_written_again() -> None:
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    hub.reported = {}
    reporter.sync({})
    assert await reporter.report(snapshot(), 0.0)
    assert hub.reported == reported_state(snapshot())


async def test_r01_and_r02_shutdown() -> None:
    """Rows R01 and R02."""
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    assert await reporter.shutdown(0.0)
    assert hub.patches[1] == {
        "lastDesiredStatus": {"code": 406, "description": "Agent is not running"},
        "systemModules": {
            "edgeAgent": {"runtimeStatus": "unknown"},
            "edgeHub": {"runtimeStatus": "unknown"},
        },
        "modules": {"sensor": {"runtimeStatus": "unknown"}},
    }


async def test_r05_a_failed_plan() -> None:
    """Row R05: the version advances together with 500."""
    reporter, hub = started()
    await reporter.report(snapshot(), 0.0)
    await reporter.report(snapshot(version=12, outcome=Outcome(500, "pull m: 404")), 0.0)
    assert hub.patches[1] == {
        "lastDesiredVersion": 12,
        "lastDesiredStatus": {"code": 500, "description": "pull m: 404"},
    }


async def test_r20_a_patch_that_is_too_large_is_sent_in_two() -> None:
    """Row R20: first what goes, then what comes."""
    reporter, hub = started()
    hub.reported = {"modules": {f"a-module-of-before-{number}": {"type": "docker"} for number in range(150)}}
    reporter.sync(hub.reported)
    others = {f"o{number:02d}": container(f"o{number:02d}") for number in range(60)}
    renamed = replace(
        snapshot(), current=others, deployment=deployment(), details=dict.fromkeys(others, "y" * 500)
    )
    assert await reporter.report(renamed, 0.0)
    assert len(hub.patches) == 2
    assert all(size_of(patch) <= PATCH_BYTES_MAX for patch in hub.patches)
    assert set(hub.reported["modules"]) == set(others)


async def test_reports_do_not_overtake_each_other() -> None:
    reporter, hub = started()
    await asyncio.gather(*(reporter.report(snapshot(version=number), 0.0) for number in range(1, 6)))
    assert [patch["lastDesiredVersion"] for patch in hub.patches] == [1, 2, 3, 4, 5]
