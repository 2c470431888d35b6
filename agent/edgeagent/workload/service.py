"""The service: the sockets of all modules, the CA, and what the agent may ask of them."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from typing import TYPE_CHECKING, Any

from edgeagent.files import make_folder
from edgeagent.workload.api import Caller, WorkloadApi, issued_answer, module_item
from edgeagent.workload.authority import ExtraBundle, OperatorCa, QuickStartCa
from edgeagent.workload.certificates import utc_now
from edgeagent.workload.control import ControlApi
from edgeagent.workload.errors import AuthorityError, FolderTakenError, ServiceError
from edgeagent.workload.http import Answer, Request, refusal
from edgeagent.workload.issuing import Issuer
from edgeagent.workload.keys import load_or_create_keys
from edgeagent.workload.registry import Registry
from edgeagent.workload.server import UnixHttpServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from io import TextIOWrapper
    from pathlib import Path

    from edgeagent.workload.authority import CaSource
    from edgeagent.workload.settings import WorkloadSettings

SOCKET_NAME = "workload.sock"
WORKLOAD_CONNECTIONS_MAX = 10
WORKLOAD_BODY_BYTES_MAX = 1024 * 1024
CONTROL_CONNECTIONS_MAX = 50
CONTROL_BODY_BYTES_MAX = 32 * 1024 * 1024
"""A sealed deployment: 4 MiB of manifest, and some more in base64."""

CA_CHECK_S = 60.0
WARN_EVERY_S = 24 * 3600.0
MODULE_FOLDER_MODE = 0o755
SOCKET_MODE = 0o666
"""Any user within the container; the folder around all modules keeps other users of the device out."""

log = logging.getLogger(__name__)


class WorkloadService:
    """Everything of one device.

    :param now: UTC clock.
    :raises FolderTakenError: another process serves this folder.
    :raises WorkloadError: a key, a CA or a bundle that cannot be used.
    :raises OSError: a file that cannot be read or made.
    """

    def __init__(
        self, settings: WorkloadSettings, *, detached: bool = False, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings = settings
        self.detached = detached
        self.stop_asked = asyncio.Event()
        settings.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock = _locked(settings.lock_file)
        try:
            make_folder(settings.modules_folder)
            self.keys = load_or_create_keys(settings.keys_folder)
            self.registry = Registry(settings.registry_file)
            self.issuer = _issuer(settings, now)
        except BaseException:
            self._lock.close()
            raise
        self._note_ca()
        self._api = WorkloadApi(
            self.keys, self.issuer, settings.hub_host, settings.device_id, self.module_items
        )
        self._sockets: dict[str, UnixHttpServer] = {}
        self._changes = asyncio.Lock()
        self._control = UnixHttpServer(
            settings.control_socket,
            ControlApi(self).respond,
            mode=0o600,
            connections_max=CONTROL_CONNECTIONS_MAX,
            body_bytes_max=CONTROL_BODY_BYTES_MAX,
        )
        self._shown_warning: tuple[str | None, float] = (None, 0.0)

    async def run(self) -> None:
        """Serves until it is asked to stop.

        :raises ServiceError: the control socket cannot be made.
        """
        timer: asyncio.Task[None] | None = None
        try:
            await self._open_all()
            timer = asyncio.create_task(self._watch_ca())
            log.info("Serving %d modules in %s", len(self._sockets), self.settings.modules_folder)
            await self.stop_asked.wait()
        finally:
            if timer:
                timer.cancel()
            await self.close()

    async def close(self) -> None:
        """Ends all connections and gives the folder free; the sockets' files stay for the next process."""
        servers = [self._control, *self._sockets.values()]
        await asyncio.gather(*(server.close() for server in servers))
        await asyncio.to_thread(self.issuer.close)
        self._lock.close()

    async def register(self, module_id: str, generation_id: str | None) -> tuple[Caller, Path]:
        """Serves a module; its identity and its folder, in which `workload.sock` is by then.

        :raises RegistryError: not a module id or generation id, or too many.
        :raises OSError: no file or socket can be made.
        """
        async with self._changes:
            caller = self.registry.register(module_id, generation_id)
            folder = self._folder(caller.name)
            if caller.name in self._sockets and not (folder / SOCKET_NAME).is_socket():
                # Somebody took the file away: clients cannot find the socket that is open.
                await self._sockets.pop(caller.name).close()
            if caller.name not in self._sockets:
                await self._open(caller.name)
            return caller, folder

    async def unregister(self, name: str) -> None:
        """Serves a module no longer; nothing when it was not served.

        :raises OSError: the list cannot be written.
        """
        async with self._changes:
            self.registry.unregister(name)
            server = self._sockets.pop(name, None)
            if server is None:
                return
            await server.close(remove=True)
            try:
                self._folder(name).rmdir()
            except OSError as error:
                log.info("The folder of %s stays: %s", name, error.strerror)

    def module_items(self) -> list[dict[str, Any]]:
        """Items of `GET /modules`."""
        return [module_item(name) for name in self.registry.modules]

    def _folder(self, name: str) -> Path:
        return self.settings.modules_folder / name

    async def _open_all(self) -> None:
        for name in self.registry.modules:
            try:
                await self._open(name)
            except OSError as error:
                # The others are served; the agent gets this error when it registers the module again.
                log.error("The socket of %s cannot be made: %s", name, error)
        try:
            await self._control.start()
        except OSError as error:
            raise ServiceError(f"{self.settings.control_socket} cannot be made: {error}") from None

    async def _open(self, name: str) -> None:
        make_folder(self._folder(name), MODULE_FOLDER_MODE)

        async def answer(request: Request) -> Answer:
            return await self._answer(name, request)

        server = UnixHttpServer(
            self._folder(name) / SOCKET_NAME,
            answer,
            mode=SOCKET_MODE,
            connections_max=WORKLOAD_CONNECTIONS_MAX,
            body_bytes_max=WORKLOAD_BODY_BYTES_MAX,
        )
        await server.start()
        self._sockets[name] = server

    async def _answer(self, name: str, request: Request) -> Answer:
        caller = self.registry.modules.get(name)
        if caller is None:
            return refusal(403, "forbidden")
        outcome = self._api.respond(request, caller)
        if isinstance(outcome, Answer):
            return outcome
        try:
            issued = await self.issuer.issue(name, outcome)
        except AuthorityError as error:
            return refusal(500, str(error))
        self._note_ca()
        return issued_answer(issued)

    async def _watch_ca(self) -> None:
        while True:
            try:
                await self.issuer.refresh()
                self._note_ca()
                self._show_warning()
            except Exception:
                # The next look may go well; without any, the CA would end one day.
                log.exception("The CA could not be looked at")
            await asyncio.sleep(CA_CHECK_S)

    def _note_ca(self) -> None:
        try:
            self.registry.note_ca(self.issuer.source.ca.fingerprint)
        except OSError as error:
            log.error("The new CA cannot be noted, so modules are not restarted yet: %s", error)

    def _show_warning(self) -> None:
        warning = self.issuer.warning()
        shown, shown_at_s = self._shown_warning
        time_s = asyncio.get_running_loop().time()
        if warning and (warning != shown or time_s - shown_at_s >= WARN_EVERY_S):
            log.warning("%s", warning)
            self._shown_warning = (warning, time_s)


def _issuer(settings: WorkloadSettings, now: Callable[[], datetime]) -> Issuer:
    extra, manifest = ExtraBundle(settings.trust_bundle), ExtraBundle(settings.manifest_trust_bundle)
    return Issuer(_ca_source(settings, now), extra, manifest, now)


def _ca_source(settings: WorkloadSettings, now: Callable[[], datetime]) -> CaSource:
    if settings.ca_certificate and settings.ca_key:
        return OperatorCa(settings.ca_certificate, settings.ca_key)
    return QuickStartCa(settings.certificates_folder, settings.device_id, now())


def _locked(path: Path) -> TextIOWrapper:
    """The lock of a folder, held as long as the file is open.

    :raises FolderTakenError: another process holds it.
    """
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read(20).strip()
        file.close()
        raise FolderTakenError(f"{path.parent} is served by process {holder or '?'} already") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
