"""Tries connections from inside a container, with what is in an image that is on the engine already.

Nothing is pulled for it. The container has no label of ours, so the agent leaves it alone; it is removed at
the end, however that comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from typing import TYPE_CHECKING, Any

from edgeagent.checks.ports import ProbeError, ProbeMissing
from edgeagent.model.module import SYSTEM_MODULES
from edgeagent.runtime.engine import part
from edgeagent.runtime.errors import EngineError, RuntimeFault
from edgeagent.runtime.lister import ModuleLister

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from edgeagent.runtime.engine import Engine

NAME_PREFIX = "iotedge-check-"
IMAGES_MAX = 5
RUN_S = 40.0
CONNECT_S = 10
_SCRIPT = """\
import socket, sys
try:
    if len(sys.argv) > 2:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10).close()
    else:
        socket.getaddrinfo(sys.argv[1], None)
except OSError as fault:
    print(fault)
    sys.exit(1)
"""
SAID_CHARS_MAX = 2000
_USAGE = re.compile(r"\busage:|invalid option|unrecognized option", re.IGNORECASE)
"""Of a program that has the name and not the options."""
_NO_PROGRAM = (126, 127)
"""Exit codes of an engine that found no such program in the image."""


class ContainerProbe:
    """:meth:`~edgeagent.checks.ports.Probes.from_container` on an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._works: tuple[str, int] | None = None

    async def reach(self, network: str, image: str, host: str, port: int | None) -> None:
        """:raises ProbeError: it does not work, or the engine fails.
        :raises ProbeMissing: no image has what it takes, or there is no such network.
        """
        try:
            images = [image] if image else await self._images()
            for candidate in images:
                for number, command in enumerate(commands(host, port)):
                    if self._works in (None, (candidate, number)) and await self._run(
                        candidate, command, network
                    ):
                        self._works = (candidate, number)
                        return
        except EngineError as fault:
            if network and fault.is_missing and f"network {network}" in fault.message:
                raise ProbeMissing(f"no network {network} yet: it comes with the first module") from None
            raise ProbeError(str(fault)) from None
        except RuntimeFault as fault:
            raise ProbeError(str(fault)) from None
        raise ProbeMissing(
            "no image with python3 or nc among those of the modules; name one that is on the engine with "
            "--diagnostics-image-name"
        )

    async def _images(self) -> list[str]:
        """Of the modules, those of the runtime first."""
        modules = await ModuleLister(self._engine).current()
        first = sorted(modules.values(), key=lambda module: (module.name not in SYSTEM_MODULES, module.name))
        return list(dict.fromkeys(module.image_id for module in first if module.image_id))[:IMAGES_MAX]

    async def _run(self, image: str, command: list[str], network: str) -> bool:
        """Whether the program was there, and went well.

        :raises ProbeError: it was there, and told that it does not work.
        """
        name = NAME_PREFIX + secrets.token_hex(4)
        host_config: dict[str, Any] = {"NetworkMode": network} if network else {}
        body = {"Image": image, "Entrypoint": command[:1], "Cmd": command[1:], "HostConfig": host_config}
        created = await self._engine.call("POST", "/containers/create", {"name": name}, body)
        container = f"/containers/{part(str(created.content['Id']))}"
        try:
            return await self._finish(container)
        finally:
            await _whole(self._remove(container))

    async def _finish(self, container: str) -> bool:
        try:
            await self._engine.call("POST", f"{container}/start")
        except EngineError as fault:
            if fault.status in (400, 500) and "executable file not found" in fault.message:
                return False
            if "no such file or directory" in fault.message and "exec" in fault.message:
                return False
            raise
        waited = await self._engine.call("POST", f"{container}/wait", deadline_s=RUN_S)
        code = waited.content.get("StatusCode") if isinstance(waited.content, dict) else None
        if code == 0:
            return True
        if code in _NO_PROGRAM:
            return False
        said = await self._said(container)
        if _USAGE.search(said):
            return False
        raise ProbeError(said.rpartition("\n")[2] or f"it ended with {code}")

    async def _said(self, container: str) -> str:
        """End of its log."""
        from edgeagent.runtime.log_frames import FrameParser  # noqa: PLC0415 - for failures alone

        query = {"stdout": True, "stderr": True, "tail": 50}
        parser, said = FrameParser(), b""
        async with self._engine.stream("GET", f"{container}/logs", query, total_s=10.0) as pieces:
            async for piece in pieces:
                said += b"".join(frame.data for frame in parser.feed(piece))
        return said.decode("utf-8", "replace").strip()[-SAID_CHARS_MAX:]

    async def _remove(self, container: str) -> None:
        with contextlib.suppress(RuntimeFault):
            await self._engine.call("DELETE", container, {"force": True, "v": True})


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Finishes it also when this task is cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def commands(host: str, port: int | None) -> Iterator[list[str]]:
    """Programs that may be in an image, the better ones first."""
    target = [host] if port is None else [host, str(port)]
    yield ["python3", "-c", _SCRIPT, *target]
    if port is None:
        yield ["nslookup", host]
    else:
        yield ["nc", "-z", "-w", str(CONNECT_S), *target]
        # Of busybox; `true` is run with the connection.
        yield ["nc", "-w", str(CONNECT_S), *target, "-e", "true"]
