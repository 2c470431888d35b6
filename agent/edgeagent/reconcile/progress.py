"""What has been tried and done for the deployment in force. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeagent.model.current import Failures, Restarts
from edgeagent.planner.restart import restarted
from edgeagent.planner.steps import Create, ForgetRestarts, Pull, Start, Step, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Deployment, DesiredStatus


@dataclass(slots=True)
class Remembered:
    """What outlives the agent, by module.

    :ivar restarts: since a module was stable.
    :ivar applied: the desired status that was last acted on.
    :ivar ends_seen: when the end of a container that was taken note of happened, in ms.
    :ivar stopped_with_agent: what ran when the agent was stopped, and was stopped by it.
    """

    restarts: dict[str, Restarts] = field(default_factory=dict)
    applied: dict[str, DesiredStatus] = field(default_factory=dict)
    ends_seen: dict[str, int] = field(default_factory=dict)
    stopped_with_agent: set[str] = field(default_factory=set)


class Progress:
    """Failures, pulled images and restarts.

    :ivar remembered: to be saved after changes, see :attr:`is_changed`.
    :ivar failures: of this deployment, by module.
    :ivar pulled: images fetched for this deployment.
    :ivar resume: modules whose end nobody watched, see :meth:`take_note`.
    """

    def __init__(self, remembered: Remembered, now_ms: Callable[[], int]) -> None:
        self.remembered = remembered
        self.failures: dict[str, Failures] = {}
        self.pulled: set[str] = set()
        self.resume: set[str] = set(remembered.stopped_with_agent)
        self.is_changed = False
        self._now_ms = now_ms
        self._watching = False
        self._images: dict[str, str] = {}

    def new_deployment(self, deployment: Deployment) -> None:
        """Failures and pulls of the one before no longer count (row P17)."""
        self.failures.clear()
        self.pulled.clear()
        self._images = {name: module.image for name, module in deployment.modules.items()}

    def not_watching(self) -> None:
        """The engine is out of reach: ends that happen now are nobody's doing until proven otherwise."""
        self._watching = False

    def take_note(self, current: Mapping[str, CurrentModule], deployment: Deployment | None) -> None:
        """Looks for ends that nobody watched: a reboot, a restart of the engine or of the agent.

        A clean exit that was watched is the module's own decision and stands (row P21). One that was not may
        be the device that was shut down, so the module is started again, as people expect after a reboot.
        """
        for name, module in current.items():
            if module.finished_at_ms is None or module.status.value not in ("stopped", "failed"):
                continue
            if self.remembered.ends_seen.get(name) == module.finished_at_ms:
                continue
            if not self._watching and _restarts_at_all(name, deployment):
                self.resume.add(name)
            self._remember_end(name, module.finished_at_ms)
        self._forget_absent(current, deployment)
        self._watching = True

    def _remember_end(self, name: str, finished_at_ms: int) -> None:
        self.remembered.ends_seen[name] = finished_at_ms
        self.is_changed = True

    def _forget_absent(self, current: Mapping[str, CurrentModule], deployment: Deployment | None) -> None:
        known = set(current) | set(deployment.modules if deployment else ())
        maps: tuple[dict[str, Any], ...] = (
            self.remembered.ends_seen,
            self.remembered.restarts,
            self.remembered.applied,
        )
        for remembered in maps:
            for name in [name for name in remembered if name not in known]:
                del remembered[name]
                self.is_changed = True

    def step_done(self, step: Step) -> None:
        """Notes what a step has changed."""
        match step:
            case Pull(module):
                self.pulled.add(module.image)
            case Start(name, counts):
                self._started(name, counts=counts)
            case ForgetRestarts(name):
                self.is_changed |= self.remembered.restarts.pop(name, None) is not None
            case Create(module):
                self.resume.discard(module.name)
            case Stop(name):
                # An end that we asked for is not one to be mended.
                self.resume.discard(name)

    def _started(self, name: str, *, counts: bool) -> None:
        self.resume.discard(name)
        self.remembered.stopped_with_agent.discard(name)
        if counts:
            self.remembered.restarts[name] = restarted(self.remembered.restarts, name, self._now_ms())
        self.is_changed = True

    def step_failed(self, name: str, text: str, *, in_pull: bool = False) -> None:
        """One more failure in a row."""
        before = self.failures.get(name)
        count = before.count + 1 if before else 1
        self.failures[name] = Failures(count, self._now_ms(), text, in_pull)

    def image_is_gone(self, name: str) -> None:
        """The image of a module has to be fetched again."""
        self.pulled.discard(self._images.get(name, ""))

    def chain_done(self, name: str) -> None:
        """All steps of a module went well; an image that could not be fetched is still owed."""
        before = self.failures.get(name)
        if before is not None and before.in_pull and self._images.get(name) not in self.pulled:
            return
        self.failures.pop(name, None)

    def forget_overcome(self, unsettled: AbstractSet[str]) -> None:
        """A failure counts as long as there is something to do for its module: a step that failed may have
        had its effect all the same, or somebody else had it.

        :param unsettled: modules that have steps, wait for something, or are at work.
        """
        for name in [name for name in self.failures if name not in unsettled]:
            del self.failures[name]

    def apply_statuses(self, deployment: Deployment, unsettled: AbstractSet[str]) -> None:
        """From now on these desired statuses are the ones that were acted on.

        :param unsettled: modules that are still at it, or failed in it.
        """
        for name, module in deployment.modules.items():
            if name not in unsettled and self.remembered.applied.get(name) is not module.status:
                self.remembered.applied[name] = module.status
                self.is_changed = True

    def stopped_with_agent(self, names: set[str]) -> None:
        """The agent ends, and these end with it."""
        self.remembered.stopped_with_agent = names
        self.is_changed = True


def _restarts_at_all(name: str, deployment: Deployment | None) -> bool:
    module = deployment.modules.get(name) if deployment else None
    return module is not None and module.restart_policy.value != "never"
