"""What the executor needs of a container engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Module, RegistryCredentials
    from edgeagent.planner.steps import Step


class StepError(AgentError):
    """A step that failed, with a text for people.

    :ivar image_is_gone: the image was fetched once and is no longer there, so it has to be pulled again.
    :ivar container_is_gone: somebody removed the container meanwhile: no failure, but another situation.
    """

    def __init__(self, text: str, *, image_is_gone: bool = False, container_is_gone: bool = False) -> None:
        super().__init__(text)
        self.image_is_gone = image_is_gone
        self.container_is_gone = container_is_gone


class ModuleRuntime(Protocol):
    """Containers of ours, by the name of their module. Every call raises :class:`StepError` when it fails."""

    async def modules(self) -> Mapping[str, CurrentModule]:
        """All of ours, running or not."""

    async def pull(self, module: Module, credentials: Mapping[str, RegistryCredentials]) -> None:
        """Fetches the image; a registry that cannot be reached is no failure while the image is here."""

    async def create(self, module: Module) -> None:
        """Makes the container, and what it needs before it: its identity, its socket, the network."""

    async def start(self, name: str) -> None:
        """Starts it; nothing happens when it runs."""

    async def stop(self, name: str) -> None:
        """Stops it within its grace period; nothing happens when it does not run or is gone."""

    async def remove(self, name: str) -> None:
        """Takes it away, not its volumes; nothing happens when it is gone."""

    async def replace_agent(self, module: Module) -> None:
        """Puts another container in the place of the one that this process runs in."""


class StepObserver(Protocol):
    """Is told what steps do, for metrics. It never waits and never raises."""

    def step_ended(self, step: Step, took_s: float, *, failed: bool) -> None:
        """A step was carried out, or tried; not told of one that was given up."""

    def work_ended(self, took_s: float) -> None:
        """The last chain at work has ended.

        :param took_s: since the first one began while nothing was at work.
        """


class NoObserver:
    """A :class:`StepObserver` that does not care."""

    def step_ended(self, step: Step, took_s: float, *, failed: bool) -> None:
        pass

    def work_ended(self, took_s: float) -> None:
        pass
