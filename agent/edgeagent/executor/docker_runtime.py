"""The executor's steps on a Docker engine."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from edgeagent.errors import AgentError
from edgeagent.executor.ports import StepError
from edgeagent.model.module import CONTAINER_NAME, EDGE_AGENT, NAME_RULE
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.errors import EngineError, PullError
from edgeagent.runtime.images import find_image
from edgeagent.runtime.networks import NetworkSettings, ensure_network
from edgeagent.runtime.pull import pull
from edgeagent.runtime.registry_auth import credentials_for
from edgeagent.runtime.spec import ModuleContext, container_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Module, RegistryCredentials
    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.lister import ModuleLister

STOP_GRACE_S = 10

_UNREACHABLE = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|connection reset|network is unreachable"
    r"|no route to host|temporary failure|TLS handshake timeout|server misbehaving|context deadline|EOF"
    r"|5\d\d (?:Internal|Bad|Service|Gateway)|request canceled",
    re.IGNORECASE,
)

_log = logging.getLogger(__name__)
T = TypeVar("T")


class ImageUse(Protocol):
    """Is told which images are in use, for their collection later."""

    async def record(self, image_id: str) -> None:
        """:raises OSError: it cannot be written down."""


@dataclass(frozen=True, slots=True)
class DockerParts:
    """What the steps work with.

    :param context: of a module: its identity, its folder; registers it with the workload API.
    :param forget: called when a module's container is gone.
    :param replace_agent: how the agent itself is replaced.
    :param own_id: of the container that this agent runs in, None outside of one.
    """

    engine: Engine
    lister: ModuleLister
    network: NetworkSettings
    context: Callable[[Module], Awaitable[ModuleContext]]
    forget: Callable[[str], Awaitable[None]]
    replace_agent: Callable[[Module, ModuleContext], Awaitable[None]]
    images: ImageUse
    registries: tuple[RegistryCredentials, ...] = ()
    own_id: str | None = None


class DockerRuntime:
    """:class:`~edgeagent.executor.ports.ModuleRuntime` on a Docker engine."""

    def __init__(self, parts: DockerParts) -> None:
        self._parts = parts
        self._containers = Containers(parts.engine)
        self._network = asyncio.Lock()

    async def modules(self) -> Mapping[str, CurrentModule]:
        """All of ours. While it is replaced the agent's own container has another name: it is no module that
        could be removed.
        """
        found = await _as_step(self._parts.lister.current())
        return {name: module for name, module in found.items() if not self._is_own(module)}

    def _is_own(self, module: CurrentModule) -> bool:
        own_id = self._parts.own_id
        return own_id is not None and module.container_id == own_id and module.name != EDGE_AGENT

    async def pull(self, module: Module, credentials: Mapping[str, RegistryCredentials]) -> None:
        """Fetches the image. One that is named by its content is not fetched again, and where the registry is
        out of reach the image that is here will do: a device must come up without its network.
        """
        if "@" in module.image and await self._image_id(module.image):
            return
        chosen = credentials_for(module.image, credentials.values(), self._parts.registries)
        try:
            await pull(self._parts.engine, module.image, chosen)
        except PullError as fault:
            if not is_unreachable(fault.message) or not await self._image_id(module.image):
                raise StepError(fault.message) from None
            _log.warning("%s: the registry cannot be reached, the image that is here is used", module.name)
        except AgentError as fault:
            raise StepError(str(fault)) from None
        await self._image_id(module.image)

    async def _image_id(self, image: str) -> str | None:
        """Id of an image that is here; it counts as used from now on."""
        image_id = await _as_step(find_image(self._parts.engine, image))
        if image_id is not None:
            await self._used(image_id)
        return image_id

    async def _used(self, image_id: str) -> None:
        try:
            await self._parts.images.record(image_id)
        except OSError as fault:
            _log.warning("the use of an image is not written down: %s", fault)

    async def create(self, module: Module) -> None:
        if not CONTAINER_NAME.fullmatch(module.name):
            raise StepError(f'"{module.name}" is not a name for a container: {NAME_RULE}')
        async with self._network:
            # An engine makes as many networks of one name as it is asked for.
            await _as_step(ensure_network(self._parts.engine, self._parts.network))
        context = await _as_step(self._parts.context(module))
        try:
            await self._containers.create(module.name, container_body(module, context))
        except EngineError as fault:
            raise StepError(fault.message, image_is_gone=fault.is_missing) from None
        except AgentError as fault:
            raise StepError(str(fault)) from None

    async def start(self, name: str) -> None:
        try:
            await _as_step(self._containers.start(name))
        except StepError:
            if name not in await self.modules():
                raise StepError("no such container", container_is_gone=True) from None
            raise

    async def stop(self, name: str) -> None:
        try:
            await self._containers.stop(name)
        except EngineError as fault:
            if not fault.is_missing:
                raise StepError(fault.message) from None
        except AgentError as fault:
            raise StepError(str(fault)) from None

    async def restart(self, name: str) -> None:
        """Stops and starts it, for the method of this name."""
        await _as_step(self._containers.restart(name))

    async def remove(self, name: str) -> None:
        image_id = await _as_step(self._containers.remove(name))
        if image_id is not None:
            await self._used(image_id)
        await _as_step(self._parts.forget(name))

    async def replace_agent(self, module: Module) -> None:
        context = await _as_step(self._parts.context(module))
        await _as_step(self._parts.replace_agent(module, context))


async def _as_step(work: Awaitable[T]) -> T:
    """Awaits; whatever goes wrong on purpose is a step that failed."""
    try:
        return await work
    except StepError:
        raise
    except EngineError as fault:
        raise StepError(fault.message) from None
    except AgentError as fault:
        raise StepError(str(fault)) from None


def is_unreachable(message: str) -> bool:
    """Whether a pull failed as its registry could not be reached, and not because the registry said no."""
    return _UNREACHABLE.search(message) is not None
