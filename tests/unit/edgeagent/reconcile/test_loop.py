"""Rounds of the loop on an engine in memory (rows P08, P13 to P17, P21, P25, P32, R01 to R06)."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeagent.model.current import RuntimeStatus
from edgeagent.model.module import DesiredStatus, ModuleUpdateMode
from edgeagent.planner.situation import PlanSettings
from testkit.agent_device import Device, manifest
from testkit.fake_runtime import FakeDeployments, FakeMemory, FakeRuntime

if TYPE_CHECKING:
    import pytest

    from edgeagent.reconcile.progress import Remembered
    from edgeagent.source.desired import Desired
from edgeagent.state.files import StateFileError


async def test_r01_nothing_is_known_before_a_deployment() -> None:
    device = Device()
    await device.settle()
    assert device.status == (406, 0)
    assert device.runtime.calls == []


async def test_p02_a_deployment_comes_up_and_is_reported() -> None:
    device = Device()
    device.deploy(3, manifest(a={}, b={}))
    await device.agent.round()
    assert device.status == (406, 0)
    await device.settle()
    assert device.running() == {"a", "b"}
    assert device.status == (200, 3)
    assert [desired.version for desired in device.deployments.kept] == [3]


async def test_r03_r04_a_bad_manifest_changes_nothing_and_restarts_go_on() -> None:
    device = Device()
    device.deploy(3, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    device.deploy(4, {**manifest(a={}), "runtime": None})
    await device.settle()
    assert device.status == (400, 3)
    device.runtime.end("a", 1)
    await device.settle()
    assert device.running() == {"a"}
    device.deploy(5, {**manifest(a={}), "schemaVersion": "2.0"})
    await device.settle()
    assert device.status == (412, 3)
    device.deploy(6, {})
    await device.settle()
    assert device.status == (417, 3)
    assert device.running() == {"a"}
    device.deploy(7, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    assert device.status == (200, 7)
    assert device.runtime.calls.count("create a") == 1


async def test_r05_a_failed_step_gives_500_with_the_new_version_and_its_text() -> None:
    device = Device()
    device.runtime.faults["pull a"] = "manifest unknown"
    device.deploy(3, manifest(a={}, b={}))
    await device.settle()
    assert device.status == (500, 3)
    assert "a: cannot pull a:1: manifest unknown" in device.reports.last.status.description
    assert device.running() == {"b"}


async def test_r06_a_pause_keeps_the_code_and_p15_ends_it() -> None:
    device = Device()
    device.runtime.faults["pull a"] = "no route"
    device.deploy(3, manifest(a={}))
    await device.settle()
    await device.pass_time(15)
    assert device.runtime.calls.count("pull a") == 1
    assert device.status == (500, 3)
    device.runtime.faults.clear()
    await device.pass_time(5)
    assert device.runtime.calls.count("pull a") == 2
    assert device.status == (200, 3)


async def test_p16_trying_never_ends_and_never_pauses_longer_than_five_minutes() -> None:
    device = Device()
    device.runtime.faults["pull a"] = "no route"
    device.deploy(3, manifest(a={}))
    await device.settle()
    await device.pass_time(4 * 3600, 60)
    assert device.runtime.calls.count("pull a") > 45
    device.runtime.faults.clear()
    await device.pass_time(300, 60)
    assert device.running() == {"a"}


async def test_p17_a_new_deployment_tries_at_once() -> None:
    device = Device()
    device.runtime.faults["pull a"] = "no route"
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.faults.clear()
    device.deploy(4, manifest(a={"version": "2"}))
    await device.settle()
    assert device.running() == {"a"}
    assert device.status == (200, 4)


async def test_one_slow_pull_blocks_no_other_module() -> None:
    device = Device()
    device.runtime.gates["pull a"] = asyncio.Event()
    device.deploy(3, manifest(a={}, b={"restartPolicy": "always"}))
    await device.settle(3)
    assert device.running() == {"b"}
    device.runtime.end("b", 1)
    await device.settle(3)
    assert device.running() == {"b"}
    assert device.status == (406, 0)
    device.runtime.gates["pull a"].set()
    await device.settle()
    assert device.running() == {"a", "b"}
    assert device.status == (200, 3)


async def test_a_new_deployment_gives_up_a_pull_that_nobody_wants_now() -> None:
    device = Device()
    device.runtime.gates["pull a"] = asyncio.Event()
    device.deploy(3, manifest(a={}))
    await device.settle(3)
    device.runtime.gates.clear()
    device.deploy(4, manifest(a={"settings": {"image": "a:2"}}))
    await device.settle()
    assert device.runtime.containers["a"].image == "a:2"
    assert device.status == (200, 4)


async def test_p13_wait_for_all_pulls_holds_up_updates_but_not_restarts_and_stays_500() -> None:
    device = Device(PlanSettings(update_mode=ModuleUpdateMode.WAIT_FOR_ALL_PULLS))
    device.deploy(3, manifest(a={}, b={"restartPolicy": "always"}))
    await device.settle()
    assert device.status == (200, 3)
    device.runtime.faults["pull a"] = "no route"
    device.deploy(4, manifest(a={"version": "2"}, b={"version": "2", "restartPolicy": "always"}))
    await device.settle()
    device.runtime.end("b", 1)
    await device.settle()
    assert device.running() == {"a", "b"}
    assert device.runtime.calls.count("create b") == 1
    await device.pass_time(10)
    assert device.status == (500, 4)
    device.runtime.faults.clear()
    await device.pass_time(20)
    assert device.runtime.calls.count("create b") == 2
    assert device.status == (200, 4)


async def test_p08_a_dead_container_is_replaced() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.containers["a"] = replace(device.runtime.containers["a"], status=RuntimeStatus.DEAD)
    await device.settle()
    assert device.runtime.calls[-2:] == ["create a", "start a"]
    assert device.running() == {"a"}


async def test_an_update_that_lost_its_container_half_way_is_finished() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.faults["create a"] = "no space left on device"
    device.deploy(4, manifest(a={"version": "2"}))
    await device.settle()
    assert device.runtime.containers == {}
    assert device.status == (500, 4)
    device.runtime.faults.clear()
    await device.pass_time(20)
    assert device.running() == {"a"}
    assert device.status == (200, 4)


async def test_an_image_that_was_deleted_is_pulled_again() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.images.clear()
    device.runtime.containers.clear()
    await device.settle()
    await device.pass_time(20)
    assert device.runtime.calls.count("pull a") == 2
    assert device.running() == {"a"}


async def test_p18_p23_p26_a_crash_loop_pauses_longer_and_ends_at_the_limit() -> None:
    device = Device()
    device.deploy(3, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    starts = []
    for _ in range(600):
        device.runtime.end("a", 1)
        before = device.runtime.calls.count("start a")
        await device.settle()
        if device.runtime.calls.count("start a") > before:
            starts.append(device.clock.ms)
        device.clock.advance(10)
    pauses = [(after - before) // 1000 for before, after in itertools.pairwise(starts)]
    assert pauses[:6] == [30, 50, 90, 170, 310, 310]
    assert len(starts) == 20
    assert device.reports.last.statuses["a"] is RuntimeStatus.FAILED
    assert device.reports.last.restarts["a"].count == 20


async def test_p25_a_stable_module_begins_anew() -> None:
    device = Device()
    device.deploy(3, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    device.runtime.end("a", 1)
    await device.settle()
    assert device.reports.last.restarts["a"].count == 1
    await device.pass_time(660, 60)
    assert "a" not in device.reports.last.restarts


async def test_p21_a_clean_exit_that_was_watched_stands() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.end("a", 0)
    await device.settle()
    await device.pass_time(60)
    assert device.running() == set()
    assert device.reports.last.statuses["a"] is RuntimeStatus.STOPPED
    device.boot()
    await device.settle()
    assert device.running() == set()


async def test_a_clean_exit_that_nobody_watched_is_mended() -> None:
    """The device was switched off, or its engine: modules come back without a count of restarts."""
    device = Device()
    device.deploy(3, manifest(a={}, b={"restartPolicy": "never"}, c={"status": "stopped"}))
    await device.settle()
    device.runtime.end("a", 0)
    device.runtime.end("b", 0)
    device.boot()
    await device.settle()
    assert device.running() == {"a"}
    assert device.reports.last.restarts == {}


async def test_an_engine_that_was_away_is_an_unwatched_end_too() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.away = True
    await device.settle()
    assert device.status == (500, 3)
    assert (
        "the container engine does not answer: connection refused" in device.reports.last.status.description
    )
    assert device.reports.last.current is None
    device.runtime.end("a", 0)
    device.runtime.away = False
    device.clock.advance(3600)
    await device.settle()
    assert device.running() == {"a"}
    assert device.status == (200, 3)


async def test_p32_r02_modules_end_with_the_agent_and_come_back_with_it() -> None:
    device = Device()
    device.deploy(3, manifest(a={"restartPolicy": "never"}, b={}, c={"restartPolicy": "never"}))
    await device.settle()
    device.runtime.end("c", 0)
    await device.settle()
    await device.agent.shut_down()
    assert device.running() == set()
    assert device.status == (406, 3)
    assert device.reports.last.status.description == "Agent is not running"
    device.boot()
    await device.settle()
    assert device.running() == {"a", "b"}


async def test_p06_a_status_that_changed_and_failed_is_tried_again() -> None:
    device = Device()
    device.deploy(3, manifest(a={"status": "stopped", "restartPolicy": "never"}))
    await device.settle()
    device.deploy(4, manifest(a={"restartPolicy": "never"}))
    device.runtime.faults["start a"] = "port is already allocated"
    await device.settle()
    assert device.status == (500, 4)
    device.runtime.faults.clear()
    await device.pass_time(20)
    assert device.running() == {"a"}
    assert device.memory.remembered.applied["a"] is DesiredStatus.RUNNING


async def test_p11_without_identity_the_code_stays_and_others_proceed() -> None:
    device = Device()
    device.identities.missing = {"a"}
    device.deploy(3, manifest(a={}, b={}))
    await device.settle()
    assert device.running() == {"b"}
    assert device.status == (406, 0)
    device.identities.missing = set()
    await device.settle()
    assert device.running() == {"a", "b"}
    assert device.status == (200, 3)


async def test_no_fault_of_a_round_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    device.deploy(3, manifest(a={}))

    def broken(deployments: FakeDeployments, desired: Desired) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FakeDeployments, "keep", broken)
    task = asyncio.create_task(device.agent.run())
    for _ in range(20):
        device.agent.wake()
        await asyncio.sleep(0)
    device.agent.stop()
    await task
    assert any("No space left" in snapshot.status.description for snapshot in device.reports.snapshots)


async def test_a_deployment_that_does_not_come_up_is_rolled_back_when_asked_for() -> None:
    device = Device(rollback_after_s=60)
    device.deploy(3, manifest(a={}))
    await device.settle()
    await device.pass_time(30)
    device.runtime.faults["pull b"] = "manifest unknown"
    device.deploy(4, manifest(a={"version": "2"}, b={}))
    await device.settle()
    await device.pass_time(55)
    assert device.status == (500, 4)
    await device.pass_time(10)
    assert device.status == (500, 3)
    text = device.reports.last.status.description
    assert text.startswith("deployment 4 was rolled back to deployment 3: not up within 60 s: b: cannot pull")
    assert device.running() == {"a"}
    assert device.runtime.calls.count("create a") == 3
    await device.pass_time(600, 60)
    assert device.status == (500, 3)
    device.runtime.faults.clear()
    device.deploy(5, manifest(a={}, b={}))
    await device.settle()
    assert device.status == (200, 5)


async def test_a_module_that_crashes_on_and_on_is_rolled_back_too() -> None:
    device = Device(rollback_after_s=60)
    device.deploy(3, manifest(a={}))
    await device.settle()
    await device.pass_time(30)
    device.deploy(4, manifest(a={"version": "2"}))
    for _ in range(14):
        await device.settle()
        if device.reports.last.version == 4 or device.runtime.calls.count("create a") == 2:
            device.runtime.end("a", 1)
        device.clock.advance(5)
    await device.settle()
    assert "rolled back to deployment 3" in device.reports.last.status.description
    assert device.runtime.calls.count("create a") == 3


async def test_without_the_setting_nothing_is_rolled_back() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.faults["pull b"] = "manifest unknown"
    device.deploy(4, manifest(a={}, b={}))
    await device.settle()
    await device.pass_time(3600, 60)
    assert device.status == (500, 4)


async def test_the_first_deployment_has_nothing_to_return_to() -> None:
    device = Device(rollback_after_s=60)
    device.runtime.faults["pull b"] = "manifest unknown"
    device.deploy(4, manifest(a={}, b={}))
    await device.settle()
    await device.pass_time(600, 60)
    assert device.status == (500, 4)
    assert device.running() == {"a"}


async def test_a_deployment_that_has_just_come_up_is_given_its_time() -> None:
    device = Device(rollback_after_s=60)
    device.deploy(3, manifest(a={}))
    await device.settle()
    await device.pass_time(30)
    device.runtime.gates["pull b"] = asyncio.Event()
    device.deploy(4, manifest(a={}, b={}))
    await device.settle(3)
    device.clock.advance(55)
    device.runtime.gates["pull b"].set()
    await device.settle()
    await device.pass_time(300, 5)
    assert device.status == (200, 4)


async def test_an_identity_that_was_made_anew_needs_another_container() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.runtime.generation = device.identities.generation = "2"
    await device.settle()
    assert device.runtime.calls[-4:] == ["stop a", "remove a", "create a", "start a"]
    await device.settle()
    assert device.runtime.calls.count("create a") == 2


async def test_p27_another_definition_forgets_the_restarts() -> None:
    device = Device()
    device.deploy(3, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    device.runtime.end("a", 1)
    await device.settle()
    assert device.reports.last.restarts["a"].count == 1
    device.deploy(4, manifest(a={"restartPolicy": "always", "version": "2"}))
    await device.settle()
    assert device.reports.last.restarts == {}


async def test_p33_a_listing_that_hangs_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round never waits for the engine longer than that, so rounds go on."""
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()

    async def hangs(runtime: FakeRuntime) -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr("edgeagent.reconcile.loop.LIST_TIMEOUT_S", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(FakeRuntime, "modules", hangs)
        await device.agent.round()
    assert device.status == (500, 3)
    assert "no answer in time" in device.reports.last.status.description
    await device.settle()
    assert device.status == (200, 3)


async def test_a_pull_does_not_hold_up_the_end() -> None:
    device = Device()
    device.runtime.gates["pull a"] = asyncio.Event()
    device.deploy(3, manifest(a={}, b={}))
    await device.settle(3)
    assert device.running() == {"b"}
    async with asyncio.timeout(5):
        await device.agent.shut_down()
    assert device.running() == set()
    assert device.runtime.calls.count("create a") == 0


async def test_a_full_disk_stops_no_supervision(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device()
    save = FakeMemory.save

    def full(memory: FakeMemory, remembered: Remembered) -> None:
        raise StateFileError("modules.json cannot be written: No space left on device")

    monkeypatch.setattr(FakeMemory, "save", full)
    device.deploy(3, manifest(a={"restartPolicy": "always"}))
    await device.settle()
    device.runtime.end("a", 1)
    await device.settle()
    assert device.running() == {"a"}
    assert device.status == (200, 3)
    assert caplog.text.count("No space left") == 1
    monkeypatch.setattr(FakeMemory, "save", save)
    await device.settle()
    assert device.memory.remembered.restarts["a"].count == 1


async def test_r07_two_faults_at_once_are_both_in_the_text() -> None:
    device = Device()
    device.deploy(3, manifest(a={}))
    await device.settle()
    device.deploy(4, {**manifest(a={}), "runtime": None})
    device.runtime.away = True
    await device.settle()
    assert device.status == (500, 3)
    text = device.reports.last.status.description
    assert "Agent configuration format is invalid. runtime: is missing" in text
    assert "the container engine does not answer" in text
    device.runtime.away = False
    await device.settle()
    assert device.status == (400, 3)
