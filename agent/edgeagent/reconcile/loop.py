"""The loop: look, decide, set to work, report (agent spec 2.1).

A round never waits for a step, a hub or a report, so a slow pull of one module holds up nothing else. Rounds
follow each other when something has happened (a deployment, an event of the engine, the end of a chain), when
a pause is over, and every few seconds in any case.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.errors import AgentError
from edgeagent.executor.chains import ChainRunner
from edgeagent.executor.ports import ModuleRuntime, NoObserver, StepError, StepObserver
from edgeagent.planner.plan import make_plan, shutdown_chains
from edgeagent.planner.restart import effective_status
from edgeagent.planner.situation import Plan, PlanSettings, Situation
from edgeagent.reconcile.ports import (
    DeploymentStore,
    DesiredSource,
    Identities,
    Memory,
    Reports,
    Snapshot,
)
from edgeagent.reconcile.progress import Progress
from edgeagent.reconcile.trial import Trial, is_good, why_roll_back
from edgeagent.report.outcome import BEFORE_START, SHUTDOWN, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeagent.model.current import CurrentModule, RuntimeStatus
    from edgeagent.model.module import Deployment
    from edgeagent.planner.steps import Pull
    from edgeagent.reconcile.in_force import InForce

LIST_TIMEOUT_S = 30.0
SHUTDOWN_S = 60.0
"""For the end of modules and of their steps, all together."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """:param period_s: the longest pause between two rounds.
    :param stops_modules: whether modules end with the agent.
    :param rollback_after_s: how long the modules of a new deployment may take to run before the last good one
        comes back; 0 for ever.
    """

    plan: PlanSettings = field(default_factory=PlanSettings)
    period_s: float = 5.0
    stops_modules: bool = True
    rollback_after_s: int = 0


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What the loop works with.

    :param observer: is told what steps do, for metrics.
    """

    source: DesiredSource
    runtime: ModuleRuntime
    identities: Identities
    reports: Reports
    memory: Memory
    deployments: DeploymentStore
    observer: StepObserver = field(default_factory=NoObserver)


class Reconciler:
    """Brings the device to its deployment, and keeps it there.

    :param now_ms: wall clock, UTC since 1970; the engine's times are on it, too.
    """

    def __init__(
        self, parts: LoopParts, in_force: InForce, settings: LoopSettings, now_ms: Callable[[], int]
    ) -> None:
        self._parts = parts
        self._in_force = in_force
        self._settings = settings
        self._now_ms = now_ms
        self._wake = asyncio.Event()
        self._stopping = False
        self._engine_fault: str | None = None
        self._busy_while_looking: frozenset[str] = frozenset()
        self._in_force_since_ms = 0
        self._unsaved = ""
        self.progress = Progress(parts.memory.load(), now_ms)
        self.runner = ChainRunner(parts.runtime, self.progress, self.wake, parts.observer)
        self.snapshot = Snapshot(BEFORE_START, 0, None, None)

    def wake(self) -> None:
        """Something has happened: the next round begins at once."""
        self._wake.set()

    def stop(self) -> None:
        """Ends :meth:`run` after the round at work."""
        self._stopping = True
        self.wake()

    async def run(self) -> None:
        """Rounds until :meth:`stop`; no fault of a round ends it."""
        while not self._stopping:
            self._wake.clear()
            due_ms = await self._guarded_round()
            await self._pause(due_ms)

    async def _guarded_round(self) -> int | None:
        try:
            return await self.round()
        except Exception as fault:
            # Whatever it is, the modules must stay supervised.
            _log.exception("a round failed")
            self._engine_fault = repr(fault)
            self._report(None, Plan({}))
            return None

    async def _pause(self, due_ms: int | None) -> None:
        pause_s = self._settings.period_s
        if due_ms is not None:
            pause_s = min(pause_s, max((due_ms - self._now_ms()) / 1000, 0.0))
        try:
            await asyncio.wait_for(self._wake.wait(), pause_s)
        except TimeoutError:
            return

    async def round(self) -> int | None:
        """One round.

        :returns: when there will be more to do, in ms, or None.
        """
        self._take_desired()
        current = await self._look()
        if current is None:
            self._report(None, Plan({}))
            return None
        deployment = self._in_force.deployment
        self.progress.take_note(current, deployment)
        plan = Plan({})
        if deployment is not None:
            plan = self._set_to_work(deployment, current)
            self._judge(deployment, current)
        self._remember()
        self._report(current, plan)
        return plan.due_ms

    def _take_desired(self) -> None:
        desired = self._parts.source.latest()
        self._in_force.unreadable(self._parts.source.fault)
        if desired is None or not self._in_force.take(desired):
            return
        _log.info("deployment %d is in force", desired.version)
        self._begin()
        self._parts.deployments.keep(desired)

    def _begin(self) -> None:
        """Another deployment is in force."""
        deployment = self._in_force.deployment
        assert deployment is not None
        self._in_force_since_ms = self._now_ms()
        self.progress.new_deployment(deployment)
        self.runner.credentials = deployment.runtime.registry_credentials
        self.runner.give_up_pulls(lambda pull: _still_wanted(pull, deployment))

    async def _look(self) -> Mapping[str, CurrentModule] | None:
        # What ends its work meanwhile may be seen as it was before: it is left for the next round.
        self._busy_while_looking = self.runner.busy
        try:
            current = await asyncio.wait_for(self._parts.runtime.modules(), LIST_TIMEOUT_S)
        except (StepError, TimeoutError) as fault:
            text = f"the container engine does not answer: {str(fault) or 'no answer in time'}"
            if text != self._engine_fault:
                _log.error("%s", text)
            self._engine_fault = text
            self.progress.not_watching()
            return None
        self._engine_fault = None
        return current

    def _set_to_work(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> Plan:
        self._parts.identities.want(deployment, current)
        plan = make_plan(self._situation(deployment, current), self._settings.plan)
        if not self._stopping:
            self.runner.launch(plan.chains)
        self.progress.forget_overcome(self.runner.busy | set(plan.waiting) | set(plan.chains))
        self.progress.apply_statuses(deployment, self.runner.busy | set(self.progress.failures))
        return plan

    def _judge(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        """Whether a deployment is good, or has had its time."""
        restarts = self.progress.remembered.restarts
        trial = Trial(self._in_force_since_ms, self._settings.rollback_after_s * 1000, self._now_ms())
        if not self.progress.failures and is_good(deployment, current, trial):
            self._in_force.mark_good()
            return
        why = why_roll_back(deployment, current, trial, self.progress.failures, restarts)
        if why and self._in_force.roll_back(why):
            self._begin()
            self.wake()

    def _situation(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> Situation:
        return Situation(
            desired=deployment,
            current=current,
            identities=self._parts.identities.known(),
            generations=self._generations(deployment),
            now_ms=self._now_ms(),
            applied=self.progress.remembered.applied,
            restarts=self.progress.remembered.restarts,
            failures=self.progress.failures,
            pulled=frozenset(self.progress.pulled),
            resume=frozenset(self.progress.resume),
            busy=self.runner.busy | self._busy_while_looking,
        )

    def _generations(self, deployment: Deployment) -> dict[str, str]:
        identities = [module.identity for module in deployment.modules.values()]
        found = {name: self._parts.identities.generation_id(name) for name in identities}
        return {name: generation_id for name, generation_id in found.items() if generation_id}

    def _remember(self) -> None:
        """Saves what has changed. A disk that is full costs the memory of restarts, not the supervision."""
        if not self.progress.is_changed:
            return
        try:
            self._parts.memory.save(self.progress.remembered)
        except AgentError as fault:
            if str(fault) != self._unsaved:
                _log.error("restarts are not written down: %s", fault)
            self._unsaved = str(fault)
            return
        self.progress.is_changed, self._unsaved = False, ""

    def _report(self, current: Mapping[str, CurrentModule] | None, plan: Plan) -> None:
        status = self._in_force.status(
            self.progress.failures, is_settled=self._is_settled(plan), engine_fault=self._engine_fault
        )
        self._publish(status, current, plan.waiting)

    def _is_settled(self, plan: Plan) -> bool:
        """Nothing is at work, and what waits, waits for a pause after a failure."""
        at_work = self.runner.busy | self._busy_while_looking
        return not at_work and all(name in self._resting for name in plan.waiting)

    @property
    def _resting(self) -> set[str]:
        return set(self.progress.failures) | set(self.progress.remembered.restarts)

    def _publish(
        self, status: Outcome, current: Mapping[str, CurrentModule] | None, waiting: Mapping[str, str]
    ) -> None:
        self.snapshot = Snapshot(
            status=status,
            version=self._in_force.reported_version,
            deployment=self._in_force.deployment,
            current=current,
            statuses=self._statuses(current or {}),
            restarts=dict(self.progress.remembered.restarts),
            waiting=waiting,
        )
        self._parts.reports.publish(self.snapshot)

    def _statuses(self, current: Mapping[str, CurrentModule]) -> dict[str, RuntimeStatus]:
        modules = self._in_force.deployment.modules if self._in_force.deployment else {}
        restarts, settings = self.progress.remembered.restarts, self._settings.plan.restart
        return {
            name: effective_status(modules[name], container, restarts.get(name), settings)
            if name in modules
            else container.status
            for name, container in current.items()
        }

    async def shut_down(self) -> None:
        """Ends what runs, modules too where the settings say so, and reports it (rows R01, R02, P32)."""
        self.runner.give_up_pulls(lambda pull: False)
        await self.runner.finish(SHUTDOWN_S / 2)
        current = await self._look()
        if current is not None and self._settings.stops_modules:
            await self._stop_modules(current)
        self._remember()
        self._publish(SHUTDOWN, current, {})

    async def _stop_modules(self, current: Mapping[str, CurrentModule]) -> None:
        deployment = self._in_force.deployment
        if deployment is None:
            return
        chains = shutdown_chains(self._situation(deployment, current))
        wanted = {
            name for name in chains if name in deployment.modules and deployment.modules[name].wants_running
        }
        self.progress.stopped_with_agent(wanted)
        self._remember()
        self.runner.launch(chains)
        await self.runner.finish(SHUTDOWN_S / 2)


def _still_wanted(pull: Pull, deployment: Deployment) -> bool:
    module = deployment.modules.get(pull.name)
    return module is not None and module.image == pull.module.image
