"""An agent with everything around it in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from edgeagent.executor.ports import NoObserver, StepObserver
from edgeagent.model.current import RuntimeStatus
from edgeagent.planner.situation import PlanSettings
from edgeagent.reconcile.in_force import InForce
from edgeagent.reconcile.loop import LoopParts, LoopSettings, Reconciler
from edgeagent.source.desired import Desired
from testkit.fake_runtime import (
    FakeClock,
    FakeDeployments,
    FakeIdentities,
    FakeMemory,
    FakeReports,
    FakeRuntime,
    FakeSource,
)


def manifest(**modules: dict[str, Any]) -> dict[str, Any]:
    """A deployment of modules; each gives what differs from a running `name:1`."""
    return {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {}},
        "systemModules": {},
        "modules": {
            name: {"type": "docker", "status": "running", "settings": {"image": f"{name}:1"}, **fields}
            for name, fields in modules.items()
        },
    }


class Device:
    """An agent with everything around it in memory."""

    def __init__(
        self,
        plan: PlanSettings | None = None,
        rollback_after_s: int = 0,
        observer: StepObserver | None = None,
    ) -> None:
        self.observer = observer or NoObserver()
        self.rollback_after_s = rollback_after_s
        self.clock = FakeClock()
        self.runtime = FakeRuntime(self.clock)
        self.source = FakeSource()
        self.identities = FakeIdentities()
        self.memory = FakeMemory()
        self.deployments = FakeDeployments()
        self.plan = plan or PlanSettings()
        self.boot()

    def boot(self) -> None:
        """Another agent process, which knows what the one before has saved."""
        self.reports = FakeReports()
        parts = LoopParts(
            self.source,
            self.runtime,
            self.identities,
            self.reports,
            self.memory,
            self.deployments,
            self.observer,
        )
        settings = LoopSettings(self.plan, rollback_after_s=self.rollback_after_s)
        self.agent = Reconciler(parts, InForce(None), settings, self.clock)

    def deploy(self, version: int, document: Any) -> None:
        self.source.desired = Desired(version, document)

    async def settle(self, rounds: int = 12) -> None:
        """Rounds until nothing more is done at this moment."""
        for _ in range(rounds):
            await self.agent.round()
            if not self.agent.runner.busy and not self.agent._busy_while_looking:
                return
            for _ in range(30):
                await asyncio.sleep(0)

    async def pass_time(self, seconds: float, step_s: float = 5.0) -> None:
        """Time goes by, with a round every five seconds."""
        for _ in range(int(seconds / step_s)):
            self.clock.advance(step_s)
            await self.settle()

    @property
    def status(self) -> tuple[int, int]:
        """Code and version as reported last."""
        return self.reports.last.status.code, self.reports.last.version

    def running(self) -> set[str]:
        found = self.runtime.containers.items()
        return {name for name, container in found if container.status is RuntimeStatus.RUNNING}
