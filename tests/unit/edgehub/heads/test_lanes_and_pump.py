"""Order per connection, and fetching of events."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from edgehub.heads.base import ANSWERS_TOGETHER, EVENTS_PER_SLICE, STEPS_WAITING_MAX, EventPump, Lanes, Step
from testkit.fake_core import Engine, UpstreamReadyEvent


class Bench:
    def __init__(self) -> None:
        self.failures: list[tuple[int, str]] = []
        self.lanes = Lanes(lambda conn, reason: self.failures.append((conn, reason)))
        self.done: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def now(self, name: str) -> Step:
        self.done.append(name)
        return None

    async def _later(self, name: str, gate: asyncio.Event) -> None:
        await gate.wait()
        self.done.append(name)

    def later(self, name: str) -> Step:
        return self._later(name, self.gates.setdefault(name, asyncio.Event()))

    def fail(self) -> Step:
        raise RuntimeError("on purpose")


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_needs_no_waiting_is_done_at_once(bench: Bench) -> None:
    bench.lanes.submit(1, lambda: bench.now("a"))
    bench.lanes.submit(1, lambda: bench.now("b"))
    assert bench.done == ["a", "b"]
    assert bench.lanes.busy == 0


async def test_a_slow_step_holds_back_its_connection_alone(bench: Bench) -> None:
    bench.lanes.submit(1, lambda: bench.later("slow"))
    bench.lanes.submit(1, lambda: bench.now("behind"))
    bench.lanes.submit(2, lambda: bench.now("other"))
    await asyncio.sleep(0)
    assert bench.done == ["other"]
    bench.gates["slow"].set()
    await bench.lanes.drain()
    assert bench.done == ["other", "slow", "behind"]
    assert bench.lanes.busy == 0


async def test_slow_steps_keep_their_order(bench: Bench) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        bench.lanes.submit(1, lambda name=name: bench.later(name))  # type: ignore[misc]
    for _ in range(20):
        for gate in bench.gates.values():
            gate.set()
        await asyncio.sleep(0)
    await bench.lanes.drain()
    assert bench.done == names


async def test_a_failing_step_closes_its_connection_and_the_next_one_runs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("on purpose")

    bench.lanes.submit(1, bench.fail)
    bench.lanes.submit(1, fail_later)
    bench.lanes.submit(1, bench.fail)
    bench.lanes.submit(1, lambda: bench.now("last"))
    await bench.lanes.drain()
    assert bench.failures == [(1, "internal error")] * 3
    assert bench.done == ["last"]
    assert "on purpose" in caplog.text


async def test_the_number_of_waiting_steps_is_bounded_except_for_the_last(bench: Bench) -> None:
    bench.lanes.submit(1, lambda: bench.later("slow"))
    for number in range(STEPS_WAITING_MAX):
        bench.lanes.submit(1, lambda number=number: bench.now(str(number)))  # type: ignore[misc]
    assert bench.failures == []
    bench.lanes.submit(1, lambda: bench.now("over"))
    assert bench.failures == [(1, f"more than {STEPS_WAITING_MAX} requests waiting")]
    bench.lanes.submit(1, lambda: bench.now("end"), last=True)
    bench.gates["slow"].set()
    await bench.lanes.drain()
    assert "over" not in bench.done
    assert bench.done[-1] == "end"


@pytest.mark.parametrize("started", [False, True])
async def test_an_abandoned_step_is_cancelled_with_all_behind_it(bench: Bench, started: bool) -> None:
    bench.lanes.submit(1, lambda: bench.later("slow"))
    bench.lanes.submit(1, lambda: bench.now("behind"))
    if started:
        await asyncio.sleep(0)
    bench.lanes.abandon(1)
    bench.lanes.abandon(1)
    bench.lanes.submit(1, lambda: bench.now("fresh"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
    assert bench.done == ["fresh"]
    assert bench.failures == []


async def test_a_step_after_an_abandoned_one_has_a_lane_of_its_own(bench: Bench) -> None:
    bench.lanes.submit(1, lambda: bench.later("first"))
    await asyncio.sleep(0)
    bench.lanes.abandon(1)
    bench.lanes.submit(1, lambda: bench.later("second"))
    await asyncio.sleep(0)
    assert bench.lanes.busy == 1
    bench.gates["second"].set()
    await bench.lanes.drain()
    assert bench.done == ["second"]


async def test_the_pump_takes_events_in_slices() -> None:
    core, seen = Engine(), list[object]()
    pump = EventPump(core, seen.append)
    core.push(*(UpstreamReadyEvent() for _ in range(EVENTS_PER_SLICE + 10)))
    assert pump.pump() == EVENTS_PER_SLICE
    assert pump.pump() == 10
    assert pump.pump() == 0
    assert len(seen) == EVENTS_PER_SLICE + 10
    core.dispose()


async def test_answers_are_held_while_a_group_of_events_is_handled() -> None:
    core, held = Engine(), list[bool]()

    def handle(event: object) -> None:
        held.append(core.held)
        if len(held) == ANSWERS_TOGETHER:
            raise RuntimeError("on purpose")

    flushed = 0

    def flush() -> None:
        nonlocal flushed
        flushed += 1
        core.held = False

    core.flush = flush  # type: ignore[method-assign]
    core.push(*(UpstreamReadyEvent() for _ in range(ANSWERS_TOGETHER * 2 + 1)))
    pump = EventPump(core, handle)
    pump.pump()
    assert held == [True] * (ANSWERS_TOGETHER * 2 + 1)
    assert flushed == 3
    assert not core.held
    pump.pump()
    assert flushed == 3, "nothing to answer"
    core.dispose()


async def test_the_pump_wakes_up_by_the_descriptor() -> None:
    core, seen = Engine(), list[object]()
    pump = EventPump(core, seen.append)
    pump.start()
    core.push(*(UpstreamReadyEvent() for _ in range(EVENTS_PER_SLICE * 2 + 1)))
    for _ in range(100):
        if len(seen) == EVENTS_PER_SLICE * 2 + 1:
            break
        await asyncio.sleep(0)
    assert len(seen) == EVENTS_PER_SLICE * 2 + 1
    pump.stop()
    pump.stop()
    core.push(UpstreamReadyEvent())
    await asyncio.sleep(0)
    assert len(seen) == EVENTS_PER_SLICE * 2 + 1
    pump.drain()
    assert len(seen) == EVENTS_PER_SLICE * 2 + 2
    core.dispose()


async def test_an_event_that_cannot_be_handled_does_not_lose_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core, seen = Engine(), list[object]()

    def handle(event: object) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise RuntimeError("on purpose")

    core.push(UpstreamReadyEvent(), UpstreamReadyEvent())
    EventPump(core, handle).pump()
    assert len(seen) == 2
    assert "UpstreamReadyEvent" in caplog.text
    core.dispose()
