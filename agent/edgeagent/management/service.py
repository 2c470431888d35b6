"""Answers the management API on its socket (agent spec 7.2, 7.4)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeagent import __version__
from edgeagent.errors import AgentError
from edgeagent.management import shapes
from edgeagent.management.host import Host, HostMeter, this_host
from edgeagent.management.ports import BundleWanted
from edgeagent.management.requests import (
    Act,
    GetModule,
    ListIdentities,
    ListModules,
    ReadLogs,
    TellResources,
    TellSystem,
    Wanted,
    read_request,
)
from edgeagent.model.module import EDGE_AGENT
from edgeagent.runtime.errors import EngineError, ForeignContainerError, RuntimeFault
from edgeagent.runtime.system import SystemInfo
from edgeagent.workload.errors import RequestRefused
from edgeagent.workload.http import Answer, Request, StreamAnswer, refusal
from edgeagent.workload.server import UnixHttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from edgeagent.management.ports import Bundles, EngineView, Identities, Statuses
    from edgeagent.runtime.log_frames import LogFrame

SOCKET_MODE = 0o660
SOCKET_GROUP = "iotedge"
BODY_BYTES_MAX = 1024 * 1024
"""Bodies are of no use here; longer ones are refused."""
CONNECTIONS_MAX = 50
PIECE_BYTES_MAX = 64 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ManagementParts:
    """What the API speaks of.

    :param statuses: None: the engine's word alone.
    :param identities: None: none are known.
    :param provisioning: how the device got its identity, such as `manual`.
    """

    engine: EngineView
    bundles: Bundles
    identities: Identities | None = None
    statuses: Statuses | None = None
    provisioning: str = "manual"
    now_s: Callable[[], float] = time.time


class ManagementService:
    """The API on one socket.

    ```python
    service = ManagementService(path, parts)
    await service.start()
    ...
    await service.close()
    ```

    :param path: its folder is made when it is missing.
    :param connections_max: at once; others are closed without an answer.
    """

    def __init__(self, path: Path, parts: ManagementParts, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._path = path
        self._connections_max = connections_max
        self._inode = 0
        self._parts = parts
        self._host: Host = this_host()
        self._meter = HostMeter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._new_server()

    def _new_server(self) -> UnixHttpServer:
        return UnixHttpServer(
            self._path,
            self.answer,
            mode=SOCKET_MODE,
            connections_max=self._connections_max,
            body_bytes_max=BODY_BYTES_MAX,
            cancels=True,
        )

    async def start(self) -> None:
        """:raises OSError: the socket cannot be made."""
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        await self._server.start()
        self._inode = _inode(self._path)
        _give_to_group(self._path)

    async def ensure_socket(self) -> bool:
        """Listens anew when somebody took the socket away, such as a cleaner of temporary folders.

        :returns: whether it was gone.
        :raises OSError: it cannot be made.
        """
        if _inode(self._path) == self._inode:
            return False
        log.warning("%s is gone; it is made again", self._path)
        await self._server.close()
        self._server = self._new_server()
        await self.start()
        return True

    async def close(self) -> None:
        """Ends all connections and takes the socket away, unless it is another's by now."""
        await self._server.close(remove=_inode(self._path) == self._inode)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, request: Request) -> Answer | StreamAnswer:
        """Answers one request; the status of an engine that refuses is passed on (row W23)."""
        try:
            return await self._answer(read_request(request, self._parts.now_s()))
        except RequestRefused as refused:
            return refusal(refused.status, str(refused))
        except EngineError as fault:
            return refusal(fault.status, fault.message)
        except ForeignContainerError as fault:
            return refusal(404, str(fault))
        except AgentError as fault:
            return refusal(500, str(fault))

    async def _answer(self, wanted: Wanted) -> Answer | StreamAnswer:
        match wanted:
            case ListModules():
                return await self._modules()
            case GetModule(name):
                return await self._module(name)
            case ReadLogs():
                return await self._logs(wanted)
            case Act(name, verb):
                return await self._act(name, verb)
            case ListIdentities():
                return await self._identities()
            case TellSystem():
                return await self._system()
            case TellResources():
                return await self._resources()
            case BundleWanted():
                return await self._bundle(wanted)

    async def _modules(self) -> Answer:
        modules = await self._parts.engine.modules()
        statuses = self._parts.statuses() if self._parts.statuses else {}
        items = [shapes.module_details(modules[name], statuses.get(name)) for name in sorted(modules)]
        return Answer(200, {"modules": items})

    async def _module(self, name: str) -> Answer:
        module = (await self._parts.engine.modules()).get(name)
        if module is None:
            raise RequestRefused(404, f"No such container: {name}")
        statuses = self._parts.statuses() if self._parts.statuses else {}
        return Answer(200, shapes.module_details(module, statuses.get(name)))

    async def _logs(self, wanted: ReadLogs) -> StreamAnswer:
        stack = contextlib.AsyncExitStack()
        frames = await stack.enter_async_context(self._parts.engine.logs(wanted.name, wanted.options))
        pieces = _encoded(frames)
        stack.push_async_callback(pieces.aclose)
        return StreamAnswer("text/plain", pieces, stack.aclose)

    async def _act(self, name: str, verb: str) -> Answer:
        engine = self._parts.engine
        work = {"start": engine.start, "stop": engine.stop, "restart": engine.restart}[verb]
        if name != EDGE_AGENT:
            await work(name)
            return Answer(204)
        if name not in await engine.modules():
            raise RequestRefused(
                409, "the agent runs outside of a container; restart it where it was started"
            )
        if verb == "stop":
            raise RequestRefused(
                409, "the agent cannot stop itself: nobody could start it again; use restart"
            )
        self._later(work(name))
        return Answer(204)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Does what ends this very process after it was answered."""

        async def run() -> None:
            try:
                await work
            except AgentError as fault:
                log.error("the agent could not restart itself: %s", fault)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _identities(self) -> Answer:
        known = await self._parts.identities() if self._parts.identities else ()
        return Answer(200, {"identities": [shapes.identity_item(identity) for identity in known]})

    async def _system(self) -> Answer:
        """Also without an engine: that the agent answers is what is asked for most of the time."""
        try:
            info = await self._parts.engine.system_info()
        except RuntimeFault as fault:
            log.debug("/systeminfo without the engine: %s", fault)
            info = SystemInfo()
        return Answer(200, shapes.system_info_object(info, self._host, __version__, self._parts.provisioning))

    async def _resources(self) -> Answer:
        found = await asyncio.to_thread(self._meter.resources)
        try:
            samples = await self._parts.engine.stats()
        except RuntimeFault as fault:
            log.debug("/systeminfo/resources without the engine: %s", fault)
            samples = []
        return Answer(200, {**found, "docker_stats": json.dumps(samples)})

    async def _bundle(self, wanted: BundleWanted) -> StreamAnswer:
        file = await self._parts.bundles.make(wanted)

        async def release() -> None:
            file.close()

        return StreamAnswer("application/zip", _pieces(file), release)


async def _encoded(frames: AsyncIterator[LogFrame]) -> AsyncGenerator[bytes, None]:
    """Frames as the engine sends them."""
    async for frame in frames:
        yield frame.encode()


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES_MAX):
        yield piece


def _inode(path: Path) -> int:
    """0 when there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _give_to_group(path: Path) -> None:
    """Members of the group `iotedge`, where there is one, may use the socket."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(LookupError, OSError):
        shutil.chown(path, group=SOCKET_GROUP)
