"""Sampling every few minutes (agent spec 6.2)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edgeagent.metrics import sampler as module
from edgeagent.metrics.host import HostSample
from edgeagent.metrics.resources import Resources
from edgeagent.metrics.sampler import ResourceSampler
from edgeagent.runtime.errors import EngineUnreachable
from edgeagent.runtime.stats import ContainerStats


class Source:
    """:ivar faults: by name of the container."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.hangs: set[str] = set()

    async def stats(self, name: str) -> ContainerStats:
        self.asked.append(name)
        if name in self.hangs:
            await asyncio.Event().wait()
        if name in self.faults:
            raise self.faults[name]
        return ContainerStats(1, 2, 3, 4, 5, 6, 7, 8, 9)


def _sampler(source: Source, resources: Resources, period_s: float = 300) -> ResourceSampler:
    return ResourceSampler(
        source, lambda: {"a": "1", "b": "2"}, resources, period_s, lambda: HostSample(uptime_s=7), lambda: 0.0
    )


async def test_all_that_runs_is_sampled_and_what_fails_is_left_out() -> None:
    source, resources = Source(), Resources(60)
    source.faults["a"] = EngineUnreachable("/run/engine", "gone")
    await _sampler(source, resources).sample()
    assert set(resources.modules) == {"b"}
    assert resources.modules["b"].container_id == "2"
    assert resources.host == HostSample(uptime_s=7)


async def test_one_that_hangs_holds_up_the_others_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATS_TIMEOUT_S", 0.01)
    source, resources = Source(), Resources(60)
    source.hangs.add("a")
    await _sampler(source, resources).sample()
    assert set(resources.modules) == {"b"}


@pytest.mark.parametrize(("period_s", "first_s"), [(300, 60), (5, 5)])
async def test_x17_first_after_a_minute_then_each_period(period_s: float, first_s: float) -> None:
    source, pauses = Source(), []
    source.faults["a"] = RuntimeError("a fault of ours")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await _sampler(source, Resources(60), period_s).run(sleep)
    assert pauses == [first_s, period_s, period_s]
    assert source.asked.count("a") == 2


async def test_a_disk_that_hangs_takes_one_thread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOST_TIMEOUT_S", 0.01)
    gate, calls = threading.Event(), []

    def host() -> HostSample:
        calls.append(1)
        gate.wait(10)
        return HostSample(uptime_s=len(calls))

    resources = Resources(60)
    sampler = ResourceSampler(Source(), dict, resources, 300, host, lambda: 0.0)
    await sampler.sample()
    await sampler.sample()
    assert (resources.host, len(calls)) == (None, 1)
    monkeypatch.setattr(module, "HOST_TIMEOUT_S", 5)
    gate.set()
    await sampler.sample()
    assert resources.host == HostSample(uptime_s=1)
    await sampler.sample()
    assert resources.host == HostSample(uptime_s=2)
