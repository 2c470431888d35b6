"""The agent's side of the service: asks it, and starts it when nobody answers.

Imports nothing that the service needs alone, as the agent is to stay small.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import yarl

from edgeagent import __version__
from edgeagent.workload.answers import (
    Failure,
    KeyPair,
    ModuleList,
    RegisteredModule,
    SealedData,
    ServiceHead,
    ServiceState,
)
from edgeagent.workload.errors import EXIT_TAKEN, ControlError
from edgeagent.workload.launch import Launched, launch, log_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgeagent.workload.settings import WorkloadSettings

CALL_WAIT_S = 10.0
SEAL_WAIT_S = 60.0
START_WAIT_S = 60.0
"""The first start makes keys, which takes a while on small boards."""

CHECK_S = 0.1
ANSWER_BYTES_MAX = 64 * 1024 * 1024

log = logging.getLogger(__name__)
Shape = TypeVar("Shape")


class WorkloadControl:
    """Calls of the agent. Each opens a connection of its own, so nothing has to be closed.

    Every call raises :exc:`ControlError` when nobody answers in time, or the answer is an error.
    """

    def __init__(self, settings: WorkloadSettings) -> None:
        self._settings = settings
        self._process: Launched | None = None
        self._warned = False

    async def ensure_running(self) -> ServiceState:
        """Starts the service when nobody answers, and replaces one of another version or other settings.

        A service that was not started by an agent is left alone: whoever started it, such as systemd, has
        to start it anew.

        :raises ControlError: it does not start.
        """
        found = await self._running()
        if found is not None and not self._is_current(found):
            if found.detached:
                log.info("Replacing the workload service of version %s", found.version)
                await self.stop()
                found = None
            elif not self._warned:
                log.warning("The workload service has other settings or another version: restart its unit")
                self._warned = True
        found = found or await self._started()
        self._end_straggler(found)
        return await self.state()

    async def state(self) -> ServiceState:
        return await self._ask("GET", "/state", ServiceState)

    async def modules(self) -> list[RegisteredModule]:
        return (await self._ask("GET", "/modules", ModuleList)).modules

    async def register(self, module_id: str, generation_id: str | None = None) -> RegisteredModule:
        """Opens the socket of a module, to be called before its container starts; again does no harm.

        :param module_id: with `$` for system modules.
        :param generation_id: of the hub; None keeps the one it has, or has one made up.
        """
        body = {"generationId": generation_id}
        return await self._ask("PUT", f"/modules/{quote(module_id, safe='')}", RegisteredModule, body)

    async def unregister(self, module_id: str) -> None:
        """Takes socket and folder of a module away, to be called after its container is gone."""
        await self._call("DELETE", f"/modules/{quote(module_id, safe='')}")

    async def module_keys(self, module_id: str, generation_id: str) -> tuple[str, str]:
        """Primary and secondary key in base64, to upload to the hub for an identity that it made."""
        body = {"moduleId": module_id, "generationId": generation_id}
        keys = await self._ask("POST", "/keys", KeyPair, body)
        return keys.primary_key, keys.secondary_key

    async def seal(self, data: bytes, purpose: str) -> bytes:
        """Encrypts a text of the agent, such as the last good deployment.

        :param purpose: what it is, in small letters, digits and `-`; needed again to open it.
        """
        return await self._seal("/seal", data, purpose)

    async def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Opens what :meth:`seal` made.

        :raises ControlError: with status 422 when it is damaged or was sealed with another key.
        """
        return await self._seal("/unseal", sealed, purpose)

    async def modules_restarted(self, ca_fingerprint: str) -> None:
        """Tells that all modules were restarted since this CA is in use, which ends `restart_due`.

        :param ca_fingerprint: of the state that asked for the restart: the CA may be the next one by now.
        """
        await self._call("POST", "/restarted", {"ca": ca_fingerprint})

    async def stop(self) -> None:
        """Ends the service, and waits until it is gone; another one that was started meanwhile stays."""
        pid = (await self._ask("GET", "/state", ServiceHead)).pid
        await self._call("POST", "/stop")
        async with _deadline("the workload service does not stop", START_WAIT_S):
            # It is another process: there is nothing but to ask again.
            while await self._is_serving(pid) or self._is_alive(pid):  # noqa: ASYNC110
                await asyncio.sleep(CHECK_S)

    def _is_current(self, found: ServiceHead) -> bool:
        return found.version == __version__ and found.settings == self._settings.digest

    async def _running(self) -> ServiceHead | None:
        """Who serves, None when nobody listens."""
        try:
            return await self._ask("GET", "/state", ServiceHead)
        except _NobodyListensError:
            return None

    async def _is_serving(self, pid: int) -> bool:
        """Whether this process serves; also when it only does not answer any more."""
        try:
            found = await self._running()
        except ControlError:
            return True
        return found is not None and found.pid == pid

    async def _started(self) -> ServiceHead:
        """Starts the service, and waits until somebody serves."""
        ours = False
        async with _deadline("the workload service does not get ready", START_WAIT_S):
            while True:
                if found := await self._running():
                    return found
                ours = self._keep_launched(judge=ours) or ours
                await asyncio.sleep(CHECK_S)

    def _keep_launched(self, *, judge: bool) -> bool:
        """Starts a process, unless the last one is still on its way.

        :param judge: whether the last one was started for this; how an earlier one ended says nothing.
        :returns: whether one was started.
        :raises ControlError: it ended, and not because another process serves already.
        """
        code = EXIT_TAKEN if self._process is None else self._process.poll()
        if code is None:
            return False
        self._process = None
        if judge and code != EXIT_TAKEN:
            where = log_path(self._settings)
            raise ControlError(f"the workload service ended with exit code {code}; {where} says why")
        self._process = launch(self._settings)
        log.info("Starting the workload service as process %d", self._process.pid)
        return True

    def _is_alive(self, pid: int) -> bool:
        """Whether this is a process that was started here and runs."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        return self._process is not None and self._process.pid == pid

    def _end_straggler(self, serving: ServiceHead) -> None:
        """Ends a process that lost the race for the folder: it would serve once the other one stops."""
        if not self._is_alive(serving.pid) and self._process is not None:
            self._process.end()

    async def _seal(self, path: str, data: bytes, purpose: str) -> bytes:
        body = {"purpose": purpose, "data": base64.b64encode(data).decode()}
        answer = await self._ask("POST", path, SealedData, body, SEAL_WAIT_S)
        try:
            return base64.b64decode(answer.data, validate=True)
        except ValueError:
            raise ControlError(f"{path}: the answer is not base64") from None

    async def _ask(
        self, verb: str, path: str, shape: type[Shape], body: Any = None, wait_s: float = CALL_WAIT_S
    ) -> Shape:
        content = await self._call(verb, path, body, wait_s)
        try:
            return msgspec.json.decode(content, type=shape, dec_hook=_from_text)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ControlError(f"workload service, {verb} {path}: {error}") from None

    async def _call(self, verb: str, path: str, body: Any = None, wait_s: float = CALL_WAIT_S) -> bytes:
        status, content = await self._exchange(verb, path, body, wait_s)
        if status >= 300:
            raise ControlError(f"workload service, {verb} {path}: {_message(content)} ({status})", status)
        return content

    async def _exchange(self, verb: str, path: str, body: Any, wait_s: float) -> tuple[int, bytes]:
        connector = aiohttp.UnixConnector(str(self._settings.control_socket))
        timeout = aiohttp.ClientTimeout(total=wait_s)
        # As a file: aiohttp sends long bytes in one piece, which would hold up the event loop.
        data = None if body is None else BytesIO(msgspec.json.encode(body))
        url = yarl.URL(f"http://workload{path}", encoded=True)
        headers = {"Content-Type": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(verb, url, data=data, headers=headers) as answer,
            ):
                return answer.status, await _limited(answer)
        except aiohttp.ClientConnectorError as error:
            raise _NobodyListensError(f"nobody listens on {self._settings.control_socket}: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise ControlError(f"workload service, {verb} {path}: {text}") from None


class _NobodyListensError(ControlError):
    """There is no service."""


def _from_text(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise ControlError(f"the workload service answered more than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)


def _message(content: bytes) -> str:
    """What an error says."""
    try:
        return msgspec.json.decode(content, type=Failure).message
    except (msgspec.DecodeError, UnicodeError):
        return "an error without a message"


@asynccontextmanager
async def _deadline(complaint: str, wait_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(wait_s):
            yield
    except TimeoutError:
        raise ControlError(f"{complaint} within {wait_s:g} s") from None
