"""Logs and restarts of modules on the engine, for the direct methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.runtime.logs import LogOptions, read_logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgeagent.executor.docker_runtime import DockerRuntime
    from edgeagent.methods.ports import LogWindow
    from edgeagent.runtime.engine import Engine


class EngineModules:
    """:class:`~edgeagent.methods.ports.ModuleLogs` and `ModuleControl` on an engine."""

    def __init__(self, engine: Engine, runtime: DockerRuntime) -> None:
        self._engine = engine
        self._runtime = runtime

    async def module_names(self) -> list[str]:
        return list(await self._runtime.modules())

    async def restart(self, name: str) -> None:
        await self._runtime.restart(name)

    async def log_lines(self, name: str, window: LogWindow) -> AsyncIterator[tuple[int, bytes]]:
        options = LogOptions(
            tail=window.tail,
            since_ms=None if window.since_s is None else window.since_s * 1000,
            until_ms=None if window.until_s is None else window.until_s * 1000,
            timestamps=window.timestamps,
        )
        async with read_logs(self._engine, name, options) as frames:
            async for frame in frames:
                yield int(frame.stream), frame.data
