"""ping, RestartModule, GetModuleLogs and GetTaskStatus (agent spec 5.2 to 5.4, 5.7)."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from edgeagent.methods.errors import BadCallError, MethodError
from edgeagent.methods.log_parts import LogReader, compressed
from edgeagent.methods.log_request import assign_modules, parse_log_request
from edgeagent.methods.payload import Payload

if TYPE_CHECKING:
    from edgeagent.methods.ports import ModuleControl
    from edgeagent.methods.tasks import Tasks

LOGS_BYTES_MAX = 127_000
"""All logs of one answer; the hub takes 128 KiB."""


async def ping(payload: Any) -> None:
    """Answers with nothing (row D01)."""


class RestartModule:
    """Restarts one container, whatever its policy or count (row D05)."""

    def __init__(self, control: ModuleControl) -> None:
        self._control = control

    async def __call__(self, payload: Any) -> None:
        request = Payload(payload)
        request.check_schema()
        name = request.required_text("id")
        if name not in await self._control.module_names():
            raise MethodError(f"Module {name} not found in the current environment")
        await self._control.restart(name)


class GetModuleLogs:
    """Answers with logs (rows D07 to D11).

    :param up_to_level: whether `loglevel` means this level and all graver ones, not this level alone.
    """

    def __init__(self, reader: LogReader, *, up_to_level: bool = False) -> None:
        self._reader = reader
        self._up_to_level = up_to_level

    async def __call__(self, payload: Any) -> list[dict[str, Any]]:
        members = Payload(payload)
        members.check_schema()
        request = parse_log_request(members, up_to_level=self._up_to_level)
        modules = assign_modules(await self._reader.module_names(), request)
        answers, size = [], 0
        for name, item in modules.items():
            content = await self._reader.read(name, item, as_json=request.as_json)
            size += len(content)
            if size > LOGS_BYTES_MAX:
                raise BadCallError(
                    f"The logs have {size} bytes or more; at most {LOGS_BYTES_MAX} fit into an answer. "
                    "Ask for less with tail or since, or use UploadModuleLogs"
                )
            answers.append(await _answer(name, content, request.gzip))
        return answers


async def _answer(name: str, content: bytes, gzip: bool) -> dict[str, Any]:
    if not gzip:
        return {"id": name, "payloadBytes": None, "payload": content.decode()}
    packed = await asyncio.to_thread(compressed, content)
    return {"id": name, "payloadBytes": base64.b64encode(packed).decode(), "payload": None}


class GetTaskStatus:
    """Tells how an upload stands (row D16)."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def __call__(self, payload: Any) -> dict[str, str]:
        request = Payload(payload)
        request.check_schema()
        return self._tasks.status(request.required_text("correlationId"))
