"""What modules and the machine take (agent spec 3.9, row X17)."""

from __future__ import annotations

from edgeagent.metrics.host import HostSample
from edgeagent.metrics.resources import HOST, ModuleSample, Resources
from edgeagent.runtime.stats import ContainerStats


def _module(cpu_ns: int, system_ns: int, container_id: str = "c1") -> ModuleSample:
    return ModuleSample(container_id, ContainerStats(cpu_ns, system_ns, 10, 20, 1, 2, 3, 4, 5))


def test_shares_are_of_two_samples() -> None:
    resources = Resources(60)
    resources.take_modules({"m": _module(100, 1000)}, 1)
    assert resources.cpu_percent == {}
    resources.take_modules({"m": _module(150, 2000)}, 2)
    assert (resources.cpu_percent["m"].count, resources.cpu_percent["m"].sum) == (1, 5.0)


def test_not_of_two_containers() -> None:
    resources = Resources(60)
    resources.take_modules({"m": _module(100, 1000)}, 1)
    resources.take_modules({"m": _module(150, 2000, "c2")}, 2)
    assert resources.cpu_percent == {}


def test_a_module_that_does_not_run_has_no_values() -> None:
    resources = Resources(60)
    resources.take_modules({"m": _module(1, 1)}, 1)
    resources.take_modules({}, 2)
    assert resources.modules == {}


def test_the_machine_counts_above_nought_only() -> None:
    resources = Resources(60)
    for at, (busy, total) in enumerate([(0, 0), (0, 100), (50, 200)]):
        resources.take_host(HostSample(cpu_busy=busy, cpu_total=total), at)
    assert (resources.cpu_percent[HOST].count, resources.cpu_percent[HOST].sum) == (1, 50.0)


def test_modules_that_are_gone_are_forgotten() -> None:
    resources = Resources(60)
    for at in range(2):
        resources.take_modules({name: _module(at, at * 10) for name in ("a", "b")}, at)
        resources.take_host(HostSample(cpu_busy=at, cpu_total=at * 2), at)
    resources.forget_others(frozenset({"b"}))
    assert set(resources.cpu_percent) == {"b", HOST}
