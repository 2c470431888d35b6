"""What the management API needs of the rest of the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from edgeagent.model.current import CurrentModule, RuntimeStatus
    from edgeagent.runtime.log_frames import LogFrame
    from edgeagent.runtime.logs import LogOptions
    from edgeagent.runtime.system import SystemInfo


class EngineView(Protocol):
    """The modules on the engine: :class:`~edgeagent.management.docker_view.DockerView`.

    All raise :class:`~edgeagent.runtime.errors.RuntimeFault`.
    """

    async def modules(self) -> Mapping[str, CurrentModule]:
        """All that have a container, by name."""

    def logs(self, name: str, options: LogOptions) -> AbstractAsyncContextManager[AsyncIterator[LogFrame]]:
        """The log of one."""

    async def start(self, name: str) -> None: ...

    async def stop(self, name: str) -> None: ...

    async def restart(self, name: str) -> None: ...

    async def system_info(self) -> SystemInfo:
        """What the engine says of the machine."""

    async def stats(self) -> list[Mapping[str, Any]]:
        """A sample of each module that runs, in the engine's own words and with its name."""

    async def inspect(self, name: str) -> Mapping[str, Any]:
        """Everything that the engine knows of a module's container, secrets included."""

    async def networks(self) -> list[Mapping[str, Any]]:
        """All networks of the engine, in its own words."""


class HasIdentity(Protocol):
    """An identity of a module."""

    @property
    def module_id(self) -> str: ...

    @property
    def generation_id(self) -> str: ...


class Identities(Protocol):
    """Identities that are known here, such as those of the workload service."""

    async def __call__(self) -> Sequence[HasIdentity]: ...


class Statuses(Protocol):
    """States of modules with their restart policies applied, as they are reported."""

    def __call__(self) -> Mapping[str, RuntimeStatus]: ...


@dataclass(frozen=True, slots=True)
class BundleWanted:
    """What is to be in a support bundle.

    :param since_ms: of logs, UTC since 1970; None from their beginning.
    :param until_ms: None to their end.
    :param runtime_only: edgeAgent and edgeHub alone.
    :param hub_hostname: hub to check the connection to, blank for the one that is configured.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    runtime_only: bool = False
    hub_hostname: str = ""


class Bundles(Protocol):
    """Makes support bundles."""

    async def make(self, wanted: BundleWanted) -> BinaryIO:
        """A zip file, to be closed by the caller, at its beginning. Reading it blocks no longer than a disk.

        :raises AgentError: it cannot be made.
        """
