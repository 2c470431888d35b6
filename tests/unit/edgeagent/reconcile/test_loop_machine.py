"""Whatever happens, the device comes to its deployment: random manifests, crashes, faults and restarts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgeagent.model.current import RuntimeStatus
from testkit.agent_device import Device, manifest

NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
modules = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["running", "stopped"]),
            "restartPolicy": st.sampled_from(["always", "on-failure", "on-unhealthy", "never"]),
            "startupOrder": st.integers(0, 2),
            "version": st.sampled_from(["1", "2"]),
        },
    ),
)


class AgentMachine(RuleBasedStateMachine):
    """The agent beside a model of what each module may still do."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.device = self._run(self._new_device())
        self.version = 0
        self.wanted: dict[str, Any] = {}
        self.crashes: dict[str, int] = {}
        self.hash_of: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def _run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @staticmethod
    async def _new_device() -> Device:
        return Device()

    @rule(wanted=modules)
    def deploy(self, wanted: dict[str, Any]) -> None:
        self.version += 1
        self.wanted = wanted
        self.device.deploy(self.version, manifest(**wanted))
        self._run(self.device.settle())

    @rule()
    def deploy_nonsense(self) -> None:
        self.version += 1
        good = self.device.source.desired
        self.device.deploy(self.version, {"schemaVersion": "9.9"})
        before = self.device.agent.snapshot.deployment
        self._run(self.device.agent.round())
        assert self.device.agent.snapshot.deployment == before
        self.device.source.desired = good

    @rule(name=names, code=st.sampled_from([0, 1, 137]))
    def crash(self, name: str, code: int) -> None:
        if name in self.device.running():
            self.device.runtime.end(name, code)
        self._run(self.device.settle())

    @rule(name=names)
    def die(self, name: str) -> None:
        containers = self.device.runtime.containers
        if name in containers:
            containers[name] = replace(containers[name], status=RuntimeStatus.DEAD)

    @rule(name=names)
    def somebody_removes_a_container(self, name: str) -> None:
        self.device.runtime.containers.pop(name, None)

    @rule(name=names)
    def somebody_removes_an_image(self, name: str) -> None:
        self.device.runtime.images.discard(f"{name}:1")

    @rule(name=names, operation=st.sampled_from(["pull", "create", "start", "stop", "remove"]))
    def fault(self, name: str, operation: str) -> None:
        self.device.runtime.faults[f"{operation} {name}"] = "something is broken"
        self._run(self.device.settle())

    @rule()
    def mend(self) -> None:
        self.device.runtime.faults.clear()

    @rule()
    def engine_goes(self) -> None:
        self.device.runtime.away = True
        self._run(self.device.settle())

    @rule()
    def engine_comes(self) -> None:
        self.device.runtime.away = False

    @rule()
    def agent_dies(self) -> None:
        self.device.boot()

    @rule()
    def agent_ends(self) -> None:
        self._run(self.device.agent.shut_down())
        self.device.boot()

    @rule(seconds=st.sampled_from([1, 30, 700]))
    def time_goes_by(self, seconds: int) -> None:
        self.device.clock.advance(seconds)
        self._run(self.device.settle())

    @rule(seconds=st.integers(1, 100_000))
    def the_clock_jumps_back(self, seconds: int) -> None:
        self.device.clock.advance(-seconds)
        self._run(self.device.settle())

    @precondition(lambda self: self.version)
    @rule()
    def comes_to_its_deployment(self) -> None:
        self.mend()
        self.engine_comes()
        self._run(self.device.pass_time(1200, 60))
        containers = self.device.runtime.containers
        assert set(containers) == set(self.wanted)
        deployment = self.device.agent.snapshot.deployment
        for name, module in (deployment.modules if deployment else {}).items():
            assert containers[name].spec_hash == module.spec_hash
            self._check_state(name, module.wants_running, module.restart_policy.value)
        if self.device.source.desired is not None:
            assert self.device.status == (200, self.device.source.desired.version)

    def _check_state(self, name: str, wants_running: bool, policy: str) -> None:
        container = self.device.runtime.containers[name]
        is_running = container.status is RuntimeStatus.RUNNING
        if not wants_running:
            assert not is_running
            return
        ended_well = container.status is RuntimeStatus.STOPPED and policy.startswith("on-")
        limit = self.device.agent.progress.remembered.restarts.get(name)
        at_limit = limit is not None and limit.count >= 20
        assert is_running or policy == "never" or ended_well or at_limit

    @invariant()
    def counts_of_restarts_are_within_their_limit(self) -> None:
        if hasattr(self, "device"):
            restarts = self.device.agent.progress.remembered.restarts
            assert all(0 <= record.count <= 20 for record in restarts.values())
            assert set(restarts) <= set(NAMES)


AgentMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgentMachine = AgentMachine.TestCase
