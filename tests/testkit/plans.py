"""Short forms of what the planner of the agent reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeagent.model.current import CurrentModule, Failures, Restarts, RuntimeStatus
from edgeagent.model.module import (
    Deployment,
    DesiredStatus,
    ImagePullPolicy,
    Module,
    ModuleUpdateMode,
    RestartPolicy,
)
from edgeagent.planner.restart import RestartSettings
from edgeagent.planner.situation import PlanSettings, Situation
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Remove, Start, Step, Stop, UpdateAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeagent.planner.situation import Plan

NOW_MS = 1_000_000_000
_KINDS: dict[str, Callable[[Any], Any]] = {
    "status": DesiredStatus,
    "restart_policy": RestartPolicy,
    "image_pull_policy": ImagePullPolicy,
}
_WORDS: dict[type[Step], str] = {
    Pull: "pull",
    Create: "create",
    UpdateAgent: "update-agent",
    Stop: "stop",
    Remove: "remove",
    ForgetRestarts: "forget",
}


def _same(value: Any) -> Any:
    return value


def module_of(name: str, fields: dict[str, Any]) -> Module:
    """A module with `name:1` as its image."""
    given: dict[str, Any] = {key: _KINDS.get(key, _same)(value) for key, value in fields.items()}
    return Module(name, **{"image": f"{name}:1", **given})


def _at_ms(seconds: float | None) -> int | None:
    return None if seconds is None else NOW_MS + int(seconds * 1000)


def current_of(name: str, fields: dict[str, Any], desired: Module | None) -> CurrentModule:
    """A container. `spec`: "same" as desired (default), "other", or None for a container without label."""
    spec = fields.get("spec", "same")
    spec_hash = desired.spec_hash if spec == "same" and desired else spec
    return CurrentModule(
        name,
        fields.get("image", f"{name}:1"),
        RuntimeStatus(fields["status"]),
        spec_hash=spec_hash,
        started_at_ms=_at_ms(fields.get("started")),
        finished_at_ms=_at_ms(fields.get("finished")),
    )


def _failures_of(item: Any) -> Failures:
    return Failures(item[0], _at_ms(item[1]) or 0, in_pull="pull" in item)


def situation_of(row: dict[str, Any]) -> Situation:
    """What a row of tests/vectors/deployments/plans.json describes."""
    modules = {name: module_of(name, fields) for name, fields in row["desired"].items()}
    identities = row.get("identities", [module.identity for module in modules.values()])
    return Situation(
        desired=Deployment(modules),
        current={name: current_of(name, it, modules.get(name)) for name, it in row["current"].items()},
        identities=frozenset(identities),
        now_ms=NOW_MS,
        applied={name: DesiredStatus(status) for name, status in row.get("applied", {}).items()},
        restarts={name: Restarts(it[0], _at_ms(it[1]) or 0) for name, it in row.get("restarts", {}).items()},
        failures={name: _failures_of(it) for name, it in row.get("failures", {}).items()},
        pulled=frozenset(row.get("pulled", ())),
        resume=frozenset(row.get("resume", ())),
        busy=frozenset(row.get("busy", ())),
    )


def settings_of(row: dict[str, Any]) -> PlanSettings:
    return PlanSettings(
        RestartSettings(restart_on_clean_exit=row.get("restart_on_clean_exit", False)),
        ModuleUpdateMode(row.get("mode", ModuleUpdateMode.NON_BLOCKING)),
    )


def words_of(plan: Plan) -> dict[str, list[str]]:
    """The chains in words."""
    return {name: [word_of(step) for step in steps] for name, steps in plan.chains.items()}


def word_of(step: Step) -> str:
    if isinstance(step, Start):
        return "restart" if step.counts else "start"
    return _WORDS[type(step)]
