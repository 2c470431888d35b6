""":class:`~edgeagent.management.ports.EngineView` on a Docker engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edgeagent.model.current import RuntimeStatus
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.engine import part
from edgeagent.runtime.errors import EngineError
from edgeagent.runtime.lister import ModuleLister
from edgeagent.runtime.logs import LogOptions, read_logs
from edgeagent.runtime.system import SystemInfo, system_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

    from edgeagent.model.current import CurrentModule
    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.log_frames import LogFrame

_RUNS = (RuntimeStatus.RUNNING, RuntimeStatus.UNHEALTHY)
STATS_DEADLINE_S = 30.0


class DockerView:
    """The containers of this agent.

    :param lister: the agent's own, which knows most without asking; None for a new one.
    """

    def __init__(self, engine: Engine, lister: ModuleLister | None = None) -> None:
        self._engine = engine
        self._lister = lister or ModuleLister(engine)
        self._containers = Containers(engine)

    async def modules(self) -> Mapping[str, CurrentModule]:
        return await self._lister.current()

    def logs(self, name: str, options: LogOptions) -> AbstractAsyncContextManager[AsyncIterator[LogFrame]]:
        return read_logs(self._engine, name, options)

    async def start(self, name: str) -> None:
        await self._changing(self._containers.start(name))

    async def stop(self, name: str) -> None:
        await self._changing(self._containers.stop(name))

    async def restart(self, name: str) -> None:
        await self._changing(self._containers.restart(name))

    async def _changing(self, work: Awaitable[None]) -> None:
        """The event of the change may come later than the next question about it."""
        try:
            await work
        finally:
            self._lister.touch_all()

    async def system_info(self) -> SystemInfo:
        return await system_info(self._engine)

    async def stats(self) -> list[Mapping[str, Any]]:
        modules = (await self.modules()).values()
        found = await asyncio.gather(*(self._stats(each) for each in modules if each.status in _RUNS))
        return [sample for sample in found if sample is not None]

    async def _stats(self, module: CurrentModule) -> Mapping[str, Any] | None:
        """None when it ended meanwhile."""
        path = f"/containers/{part(module.container_id)}/stats"
        query = {"stream": False, "one-shot": True}
        try:
            answer = await self._engine.get(path, query, STATS_DEADLINE_S)
        except EngineError:
            return None
        return {**answer, "name": f"/{module.name}"} if isinstance(answer, dict) else None

    async def inspect(self, name: str) -> Mapping[str, Any]:
        return await self._containers.inspect(name)

    async def networks(self) -> list[Mapping[str, Any]]:
        answer = await self._engine.get("/networks")
        return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
