"""Whether a new deployment has come up, or has had its time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.model.current import CurrentModule, Failures, Restarts, RuntimeStatus
from edgeagent.model.module import Deployment, Module, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

STABLE_MS = 30_000
"""A module that has run so long, or as long as the whole trial, has come up."""


@dataclass(frozen=True, slots=True)
class Trial:
    """:param began_ms: when the deployment came into force.
    :param lasts_ms: how long its modules may take; 0 for ever.
    """

    began_ms: int
    lasts_ms: int
    now_ms: int

    @property
    def is_over(self) -> bool:
        return self.lasts_ms > 0 and self.now_ms - self.began_ms >= self.lasts_ms

    @property
    def stable_ms(self) -> int:
        return min(STABLE_MS, self.lasts_ms)


def is_good(deployment: Deployment, current: Mapping[str, CurrentModule], trial: Trial) -> bool:
    """Whether all modules that should run do so for a while, or have done their work."""
    return not _not_up(deployment, current, trial.now_ms - trial.stable_ms)


def why_roll_back(
    deployment: Deployment,
    current: Mapping[str, CurrentModule],
    trial: Trial,
    failures: Mapping[str, Failures],
    restarts: Mapping[str, Restarts],
) -> str | None:
    """Why a deployment whose time is over has not come up; None while it still may, or has.

    A module that has just started is given its time, one that has crashed meanwhile is not.
    """
    if not trial.is_over:
        return None
    texts = [f"{name}: {failure.text}" for name, failure in sorted(failures.items())]
    texts += [f"{name}: does not run" for name in _not_up(deployment, current, None) if name not in failures]
    texts += [
        f"{name}: crashed {record.count} times"
        for name, record in sorted(restarts.items())
        if record.last_at_ms >= trial.began_ms
    ]
    return f"not up within {trial.lasts_ms // 1000} s: {'; '.join(texts)}" if texts else None


def _not_up(
    deployment: Deployment, current: Mapping[str, CurrentModule], started_before_ms: int | None
) -> list[str]:
    return [
        name
        for name, module in sorted(deployment.modules.items())
        if module.wants_running
        and not module.is_agent
        and not _is_up(module, current.get(name), started_before_ms)
    ]


def _is_up(module: Module, current: CurrentModule | None, started_before_ms: int | None) -> bool:
    if current is None or current.spec_hash != module.spec_hash:
        return False
    if current.status is RuntimeStatus.RUNNING:
        return started_before_ms is None or (current.started_at_ms or 0) <= started_before_ms
    has_ended = current.status is RuntimeStatus.STOPPED and current.finished_at_ms is not None
    return has_ended and module.restart_policy is not RestartPolicy.ALWAYS
