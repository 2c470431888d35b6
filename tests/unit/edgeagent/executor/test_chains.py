"""What an observer is told of steps (row X17)."""

from __future__ import annotations

import asyncio

from edgeagent.executor.chains import ChainRunner, describe
from edgeagent.model.module import Module
from edgeagent.planner.steps import Create, Pull, Start, Step, Stop
from edgeagent.reconcile.progress import Progress, Remembered
from testkit.agent_device import Device, manifest
from testkit.fake_runtime import FakeClock, FakeRuntime

A = Module("a", "a:1")


class Observer:
    """:ivar ended: steps in words, with `failed` where they did."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.took_s: list[float] = []
        self.works = 0

    def step_ended(self, step: Step, took_s: float, *, failed: bool) -> None:
        self.ended.append(f"{step.name}: {describe(step)}" + (" failed" if failed else ""))
        self.took_s.append(took_s)

    def work_ended(self, took_s: float) -> None:
        self.works += 1
        self.took_s.append(took_s)


class Runner:
    """A runner on an engine in memory."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.runtime, self.observer = FakeRuntime(clock), Observer()
        self.runner = ChainRunner(self.runtime, Progress(Remembered(), clock), lambda: None, self.observer)


async def test_x17_each_step_is_told_with_its_end() -> None:
    it = Runner()
    it.runtime.faults["start a"] = "no"
    it.runner.launch({"a": (Pull(A), Create(A), Start("a"))})
    await it.runner.finish(5)
    assert it.observer.ended == ["a: pull a:1", "a: create a container of a:1", "a: start failed"]
    assert min(it.observer.took_s) >= 0


async def test_x17_work_ends_with_its_last_chain() -> None:
    it = Runner()
    it.runtime.gates["pull a"] = asyncio.Event()
    it.runner.launch({"a": (Pull(A),)})
    await asyncio.sleep(0)
    began_s = it.runner._began_s
    it.runner.launch({"b": (Stop("b"),)})
    assert it.runner._began_s == began_s
    for _ in range(5):
        await asyncio.sleep(0)
    assert (it.observer.ended, it.observer.works) == (["b: stop"], 0)
    it.runtime.gates["pull a"].set()
    await it.runner.finish(5)
    await asyncio.sleep(0)
    assert it.observer.works == 1


async def test_a_pull_that_is_given_up_is_not_told() -> None:
    it = Runner()
    it.runtime.gates["pull a"] = asyncio.Event()
    it.runner.launch({"a": (Pull(A),)})
    await asyncio.sleep(0)
    it.runner.give_up_pulls(lambda _pull: False)
    await it.runner.finish(5)
    await asyncio.sleep(0)
    assert (it.observer.ended, it.observer.works, it.runner.busy) == ([], 1, frozenset())


async def test_x17_the_loop_hands_its_observer_on() -> None:
    observer = Observer()
    device = Device(observer=observer)
    device.deploy(1, manifest(a={}))
    await device.settle()
    assert observer.ended == ["a: pull a:1", "a: create a container of a:1", "a: start"]
    assert observer.works == 1
