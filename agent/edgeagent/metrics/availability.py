"""How long modules ran while they should (agent spec 6.2). Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.model.current import RuntimeStatus
from edgeagent.model.module import EDGE_AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Deployment


@dataclass(slots=True)
class Uptime:
    """Of one module.

    :ivar running_s: it ran, and should.
    :ivar expected_s: it should have run.
    """

    running_s: float = 0.0
    expected_s: float = 0.0
    _seen_s: float | None = None

    def note(self, now_s: float, *, is_running: bool) -> None:
        """The time since the last look counts as it is now."""
        passed_s = max(now_s - self._seen_s, 0.0) if self._seen_s is not None else 0.0
        self._seen_s = now_s
        self.expected_s += passed_s
        if is_running:
            self.running_s += passed_s

    def pause(self) -> None:
        """It need not run, or nothing is known: the time until the next look does not count."""
        self._seen_s = None


class Availability:
    """Of every module in the deployment; those that left it are forgotten.

    The agent counts as running as long as it can count. While the engine does not answer, nothing is counted
    of the other modules, as nobody can tell.

    :param downtime_s: how long the agent was away before it began, see
        :class:`~edgeagent.metrics.checkpoint.Checkpoint`.
    """

    def __init__(self, downtime_s: float = 0.0) -> None:
        self.modules: dict[str, Uptime] = {EDGE_AGENT: Uptime(expected_s=downtime_s)}

    def note(
        self, deployment: Deployment | None, current: Mapping[str, CurrentModule] | None, now_s: float
    ) -> None:
        """One look at everything.

        :param current: None when the engine could not tell.
        """
        self.modules[EDGE_AGENT].note(now_s, is_running=True)
        wanted = deployment.modules if deployment else {}
        for name in [name for name in self.modules if name not in wanted and name != EDGE_AGENT]:
            del self.modules[name]
        for name, module in wanted.items():
            if name == EDGE_AGENT:
                continue
            if current is not None and module.wants_running:
                self.modules.setdefault(name, Uptime()).note(now_s, is_running=_runs(current.get(name)))
            elif name in self.modules:
                self.modules[name].pause()


def _runs(module: CurrentModule | None) -> bool:
    return module is not None and module.status is RuntimeStatus.RUNNING
