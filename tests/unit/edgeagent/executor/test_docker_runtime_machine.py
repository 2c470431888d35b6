"""The agent on an engine behind a socket, which fails: it comes to its deployment, counts restarts
right, and touches no container of others (row P31)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edgeagent.executor.docker_runtime import DockerParts, DockerRuntime
from edgeagent.reconcile.in_force import InForce
from edgeagent.reconcile.loop import LoopParts, LoopSettings, Reconciler
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.lister import ModuleLister
from edgeagent.runtime.networks import NetworkSettings
from edgeagent.runtime.spec import ModuleContext
from edgeagent.source.desired import Desired
from testkit.agent_device import manifest
from testkit.fake_engine import FakeEngine, Fault, running_engine
from testkit.fake_runtime import (
    FakeClock,
    FakeDeployments,
    FakeIdentities,
    FakeMemory,
    FakeReports,
    FakeSource,
)

STRANGER = "stranger"
NAMES = ("mod-a", "mod-b")
names = st.sampled_from(NAMES)
modules = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["running", "stopped"]),
            "restartPolicy": st.sampled_from(["always", "on-failure", "never"]),
            "version": st.sampled_from(["1", "2"]),
            "startupOrder": st.integers(0, 1),
        },
    ),
)
REQUESTS = (
    ("POST", "/containers/create"),
    ("POST", ".*/start"),
    ("POST", ".*/stop"),
    ("DELETE", "/containers/.*"),
    ("GET", "/containers/.*/json"),
    ("GET", "/containers/json"),
    ("GET", "/networks"),
)


class NoUses:
    """Image uses are nobody's concern here."""

    async def record(self, image_id: str) -> None:
        """Passed over."""


class EngineDevice:
    """An agent on a fake engine."""

    async def open(self) -> None:
        self.clock = FakeClock()
        self.stack = AsyncExitStack()
        self.fake: FakeEngine = await self.stack.enter_async_context(running_engine(self.clock))
        self.engine = await self.stack.enter_async_context(Engine(self.fake.address))
        self.stranger = self.fake.state.add_foreign(STRANGER)
        for name in NAMES:
            self.fake.state.add_image(f"{name}:1")
        self.source, self.memory = FakeSource(), FakeMemory()
        self.boot()

    def boot(self) -> None:
        """Another agent process."""
        self.reports = FakeReports()
        runtime = DockerRuntime(
            DockerParts(
                engine=self.engine,
                lister=ModuleLister(self.engine),
                network=NetworkSettings(),
                context=self._context,
                forget=self._nothing,
                replace_agent=self._nothing,
                images=NoUses(),
            )
        )
        parts = LoopParts(
            self.source, runtime, FakeIdentities(), self.reports, self.memory, FakeDeployments()
        )
        self.agent = Reconciler(parts, InForce(None), LoopSettings(), self.clock)

    async def _context(self, module: Any) -> ModuleContext:
        return ModuleContext("hub", "d1", "gw", "1", f"/home/mnt/{module.name}")

    async def _nothing(self, *_: Any) -> None:
        """No workload service here."""

    async def settle(self, rounds: int = 8) -> None:
        for _ in range(rounds):
            await self.agent.round()
            if not self.agent.runner.busy and not self.agent._busy_while_looking:
                return
            await self.agent.runner.finish(20)

    async def pass_time(self, seconds: int, step_s: int) -> None:
        for _ in range(seconds // step_s):
            self.clock.advance(step_s)
            await self.settle()


class EngineMachine(RuleBasedStateMachine):
    """Random deployments, ends of modules and faults of the engine."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.device = EngineDevice()
        self._run(self.device.open())
        self.wanted: dict[str, Any] = {}
        self.version = 0

    def teardown(self) -> None:
        if not hasattr(self, "device"):
            return
        self._run(self.device.stack.aclose())
        self.loop.close()

    def _run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(wanted=modules)
    def deploy(self, wanted: dict[str, Any]) -> None:
        self.version += 1
        self.wanted = wanted
        document = manifest(**{name: {"imagePullPolicy": "never", **it} for name, it in wanted.items()})
        self.device.source.desired = Desired(self.version, document)
        self._run(self.device.settle())

    @rule(name=names, code=st.sampled_from([0, 1]))
    def a_module_ends(self, name: str, code: int) -> None:
        state = self.device.fake.state
        if name in state.names() and state.by_name(name).runs:
            state.exit(name, code)
        self._run(self.device.settle())

    @rule(request=st.sampled_from(REQUESTS), how=st.sampled_from(["500", "drop", "late"]))
    def a_fault(self, request: tuple[str, str], how: str) -> None:
        status = None if how == "drop" else 500
        fault = Fault(*request, status=status, drop=how == "drop", acts=how == "late", times=2)
        self.device.fake.faults.append(fault)
        self._run(self.device.settle())

    @rule()
    def agent_dies(self) -> None:
        self.device.boot()

    @rule(seconds=st.sampled_from([30, 700]))
    def time_goes_by(self, seconds: int) -> None:
        self.device.clock.advance(seconds)
        self._run(self.device.settle())

    @precondition(lambda self: self.version)
    @rule()
    def comes_to_its_deployment(self) -> None:
        self.device.fake.faults.clear()
        self._run(self.device.pass_time(1200, 100))
        state = self.device.fake.state
        assert state.names() == {STRANGER, *self.wanted}
        assert state.by_name(STRANGER) is self.device.stranger
        assert self.device.stranger.runs
        for name, module in self.device.agent.snapshot.deployment.modules.items():  # type: ignore[union-attr]
            runs = state.by_name(name).runs
            assert not runs or module.wants_running
            may_rest = module.restart_policy.value != "always"
            assert runs or not module.wants_running or may_rest
        restarts = self.device.agent.progress.remembered.restarts
        assert set(restarts) <= set(self.wanted)
        assert self.device.reports.last.status.code == 200
        assert not [path for path in self.device.fake.paths("POST", "DELETE") if STRANGER in path]


EngineMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEngineMachine = EngineMachine.TestCase
