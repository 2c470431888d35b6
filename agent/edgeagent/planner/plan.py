"""From what is desired and what is there to the next steps of each module (agent spec 2.3 to 2.6).

The plan is made anew whenever something has changed, so it never looks ahead further than one chain of steps:
what has to wait (an earlier `startupOrder`, a pause, an identity) is simply not in it yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeagent.model.current import CurrentModule, Failures, RuntimeStatus
from edgeagent.model.module import EDGE_AGENT, ImagePullPolicy, Module, ModuleUpdateMode
from edgeagent.planner.restart import (
    COOL_OFF_S_MAX,
    effective_status,
    is_due,
    is_stable,
    is_up,
    restart_due_ms,
)
from edgeagent.planner.situation import Plan, PlanSettings, Situation
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Remove, Start, Step, Stop, UpdateAgent


def retry_pause_s(failures: int, unit_s: int) -> int:
    """Pause after so many failures in a row: 20, 40, 80, 160, then 300 s for good (rows P15, P16)."""
    return min(unit_s << min(failures, 16), COOL_OFF_S_MAX)


def make_plan(situation: Situation, settings: PlanSettings) -> Plan:
    """Decides the next steps. Pure; equal arguments give equal plans."""
    return _Planner(situation, settings).plan()


@dataclass(slots=True)
class _Planner:
    situation: Situation
    settings: PlanSettings
    hashes: dict[str, str] = field(default_factory=dict)
    first_coming: Module | None = None
    leaving: str | None = None
    chains: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    due_ms: int | None = None

    def plan(self) -> Plan:
        desired = sorted(
            self.situation.desired.modules.values(), key=lambda module: (module.startup_order, module.name)
        )
        superfluous = [name for name in sorted(self.situation.current) if self._is_superfluous(name)]
        self.hashes = {module.name: module.spec_hash for module in desired}
        self.leaving = next((name for name in superfluous if self._untried(name)), None)
        self.first_coming = next((module for module in desired if self._is_coming(module)), None)
        for name in superfluous:
            self._consider(name, (Stop(name), Remove(name), ForgetRestarts(name)))
        for module in desired:
            self._consider(module.name, self._steps_of(module))
        return Plan(self.chains, self.waiting, self.due_ms)

    def _is_superfluous(self, name: str) -> bool:
        """Ours and no longer wanted. A manifest without the agent leaves the agent alone (row P30)."""
        return name not in self.situation.desired.modules and name != EDGE_AGENT

    def _consider(self, name: str, steps: tuple[Step, ...]) -> None:
        """Takes steps into the plan unless their module is at work already or pauses after a failure."""
        if not steps or name in self.situation.busy:
            return
        failures = self.situation.failures.get(name)
        if failures is not None and not self._pause_is_over(failures):
            self.waiting[name] = f"after {failures.count} failures: {failures.text}"
            steps = self._despite(failures, name)
        if steps:
            self.chains[name] = steps

    def _despite(self, failures: Failures, name: str) -> tuple[Step, ...]:
        """What is done during a pause: a container whose new image cannot be had is kept up."""
        module, current = self.situation.desired.modules.get(name), self.situation.current.get(name)
        if not failures.in_pull or module is None or current is None or module.is_agent:
            return ()
        return self._status_steps(module, current)

    def _pause_is_over(self, failures: Failures) -> bool:
        due_ms = failures.last_at_ms + retry_pause_s(failures.count, self.settings.retry_unit_s) * 1000
        return self._has_come(due_ms, failures.last_at_ms)

    def _has_come(self, due_ms: int, began_ms: int) -> bool:
        if is_due(due_ms, began_ms, self.situation.now_ms):
            return True
        self.due_ms = due_ms if self.due_ms is None else min(self.due_ms, due_ms)
        return False

    def _steps_of(self, module: Module) -> tuple[Step, ...]:
        current = self.situation.current.get(module.name)
        if module.is_agent:
            return self._agent_steps(module, current)
        if current is None:
            return self._creation(module)
        if current.status is RuntimeStatus.DEAD:
            return (Remove(module.name), ForgetRestarts(module.name))
        if self._needs_container(module):
            return self._update(module, current)
        return self._status_steps(module, current)

    def _agent_steps(self, module: Module, current: CurrentModule | None) -> tuple[Step, ...]:
        """The agent is only ever replaced (row P28); without container of its own it is not one's to make."""
        if current is None or not _agent_differs(module, current):
            return ()
        return (*self._pull(module), UpdateAgent(module))

    def _creation(self, module: Module) -> tuple[Step, ...]:
        if not self._may_have_container(module):
            return self._early_pull(module)
        steps = (*self._pull(module), Create(module))
        if not module.wants_running:
            return steps
        return (*steps, Start(module.name)) if self._may_start(module) else steps

    def _update(self, module: Module, current: CurrentModule) -> tuple[Step, ...]:
        if not self._may_have_container(module) or not self._may_start(module):
            return self._status_steps(module, current) or self._early_pull(module)
        steps = (
            *self._pull(module),
            Stop(module.name),
            Remove(module.name),
            ForgetRestarts(module.name),
            Create(module),
        )
        return (*steps, Start(module.name)) if module.wants_running else steps

    def _may_have_container(self, module: Module) -> bool:
        if module.identity not in self.situation.identities:
            self.waiting[module.name] = "it has no identity in the hub yet"
            return False
        if self.settings.update_mode is ModuleUpdateMode.WAIT_FOR_ALL_PULLS and self._unpulled():
            self.waiting[module.name] = "all images have to be pulled first"
            return False
        return True

    def _early_pull(self, module: Module) -> tuple[Step, ...]:
        """What can be done already by a module that waits: fetch its image."""
        return self._pull(module) if module.identity in self.situation.identities else ()

    def _pull(self, module: Module) -> tuple[Step, ...]:
        needed = (
            module.image_pull_policy is ImagePullPolicy.ON_CREATE
            and module.image not in self.situation.pulled
        )
        return (Pull(module),) if needed else ()

    def _unpulled(self) -> bool:
        """Whether any module that has to be made anew still lacks its image."""
        return any(
            self._pull(module)
            for module in self.situation.desired.modules.values()
            if not module.is_agent and self._needs_container(module)
        )

    def _needs_container(self, module: Module) -> bool:
        current = self.situation.current.get(module.name)
        if current is None or current.spec_hash != self.hashes[module.name]:
            return True
        generation_id = self.situation.generations.get(module.identity)
        return bool(generation_id and current.generation_id) and generation_id != current.generation_id

    def _may_start(self, module: Module) -> bool:
        """Whether all that comes earlier was started, or failed, or cannot come (rows P09, P10)."""
        if self.leaving is not None:
            self.waiting[module.name] = f"{self.leaving} has to leave first"
            return False
        first = self.first_coming
        if first is not None and first.startup_order < module.startup_order:
            self.waiting[module.name] = f"{first.name} is started first"
            return False
        return True

    def _untried(self, name: str) -> bool:
        return name not in self.situation.failures

    def _is_coming(self, module: Module) -> bool:
        if module.is_agent or not module.wants_running or not self._untried(module.name):
            return False
        if module.identity not in self.situation.identities:
            return False
        if self._needs_container(module):
            return True
        current = self.situation.current[module.name]
        return current.started_at_ms is None and not is_up(current)

    def _status_steps(self, module: Module, current: CurrentModule) -> tuple[Step, ...]:
        name = module.name
        changed = self.situation.applied.get(name, module.status) is not module.status
        forget: tuple[Step, ...] = (ForgetRestarts(name),) if name in self.situation.restarts else ()
        if not module.wants_running:
            return (Stop(name), *forget) if is_up(current) else ()
        if current.status is RuntimeStatus.RUNNING:
            return forget if is_stable(current, self.settings.restart, self.situation.now_ms) else ()
        if current.status not in (RuntimeStatus.UNHEALTHY, RuntimeStatus.STOPPED, RuntimeStatus.FAILED):
            return ()
        if current.started_at_ms is None:
            return (Start(name),) if self._may_start(module) else ()
        if (changed or name in self.situation.resume) and not is_up(current):
            return (*forget, Start(name)) if changed else (Start(name),)
        return self._restart(module, current)

    def _restart(self, module: Module, current: CurrentModule) -> tuple[Step, ...]:
        name, restarts = module.name, self.situation.restarts.get(module.name)
        status = effective_status(module, current, restarts, self.settings.restart)
        if status is not RuntimeStatus.BACKOFF:
            return ()
        due_ms = restart_due_ms(current, restarts, self.settings.restart)
        began_ms = restarts.last_at_ms if is_up(current) and restarts else current.finished_at_ms or 0
        if not self._has_come(due_ms, began_ms):
            self.waiting[name] = "it crashed, and pauses before its next start"
            return ()
        return (Stop(name), Start(name, counts=True))


def _agent_differs(module: Module, current: CurrentModule) -> bool:
    """A container that was not made by us has no hash; then its image alone counts (row P29)."""
    if current.spec_hash is None:
        return current.image != module.image
    return current.spec_hash != module.spec_hash


def shutdown_chains(situation: Situation) -> dict[str, tuple[Step, ...]]:
    """What ends with the agent: every module but itself, side by side (row P32)."""
    return {
        name: (Stop(name),)
        for name, current in sorted(situation.current.items())
        if name != EDGE_AGENT and is_up(current)
    }
