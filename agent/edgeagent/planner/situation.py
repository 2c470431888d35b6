"""What the planner decides from, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.model.module import ModuleUpdateMode
from edgeagent.planner.restart import RestartSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule, Failures, Restarts
    from edgeagent.model.module import Deployment, DesiredStatus
    from edgeagent.planner.steps import Step


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Settings that the plan follows.

    :param retry_unit_s: base of the pause after steps that failed (spec 2.6).
    """

    restart: RestartSettings = field(default_factory=RestartSettings)
    update_mode: ModuleUpdateMode = ModuleUpdateMode.NON_BLOCKING
    retry_unit_s: int = 10


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the next steps depend on.

    :param current: containers of ours, by name.
    :param identities: module ids (`$edgeHub`, `sensor`) that the hub knows.
    :param applied: the desired status that was last acted on; a change of it begins a new count of restarts.
    :param restarts: restarts after ends, by module.
    :param failures: steps that failed in this deployment, by module.
    :param pulled: images that were fetched for this deployment.
    :param resume: modules whose end was not their own doing (the agent or the device was shut down); they
        start again whatever their policy.
    :param busy: modules whose last steps still run.
    :param now_ms: UTC since 1970.
    :param generations: current generation of identities, by module id. A container that was made with another
        one cannot sign for the identity that the hub has now.
    """

    desired: Deployment
    current: Mapping[str, CurrentModule]
    identities: frozenset[str]
    now_ms: int
    applied: Mapping[str, DesiredStatus] = field(default_factory=dict)
    restarts: Mapping[str, Restarts] = field(default_factory=dict)
    failures: Mapping[str, Failures] = field(default_factory=dict)
    pulled: frozenset[str] = frozenset()
    resume: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    generations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The next steps.

    :param chains: by module, in the order of `startupOrder`; steps of one chain run one after the other,
        chains beside each other.
    :param waiting: modules that have to wait, and for what; for people.
    :param due_ms: when a pause is over and there will be more to do, None when nothing waits for time.
    """

    chains: Mapping[str, tuple[Step, ...]]
    waiting: Mapping[str, str] = field(default_factory=dict)
    due_ms: int | None = None
