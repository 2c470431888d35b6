"""The modules that are served, kept in a file: after a restart the same sockets are there at once."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

import msgspec

from edgeagent.files import make_folder, read_limited, set_aside, write_secret
from edgeagent.model.module import SYSTEM_MODULES
from edgeagent.workload.api import Caller, module_name
from edgeagent.workload.errors import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

MODULES_MAX = 500
"""More than a deployment may have, for modules on their way out."""

FILE_BYTES_MAX = 1024 * 1024
FILE_VERSION = 1
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_GENERATION_ID = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_TICKS_AT_1970 = 621_355_968_000_000_000
"""Hundreds of nanoseconds since the year 1, which generation ids of the hub are."""

log = logging.getLogger(__name__)


class _Module(msgspec.Struct, frozen=True, rename="camel"):
    module_id: str
    generation_id: str


class _Content(msgspec.Struct, rename="camel"):
    """What is in the file.

    :ivar ca: fingerprint of the CA at the last look.
    :ivar acknowledged_ca: fingerprint of the CA that modules were last restarted for.
    """

    version: int = FILE_VERSION
    modules: list[_Module] = []
    ca: str = ""
    acknowledged_ca: str = ""
    renewals: int = 0


class Registry:
    """Who has a socket, and for which CA the modules were last restarted.

    A file that cannot be read is set aside: the agent registers all its modules again at its next start.

    :raises OSError: the folder cannot be made or the file not be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        make_folder(path.parent)
        self._content = self._read()
        self.modules = {
            caller.name: caller
            for caller in (Caller(each.module_id, each.generation_id) for each in self._content.modules)
        }

    def register(self, module_id: str, generation_id: str | None = None) -> Caller:
        """Adds a module, or gives it another generation.

        :param generation_id: of the hub; None keeps the one it has, or makes one up.
        :raises RegistryError: not a name, or too many modules.
        :raises OSError: the file cannot be written; then nothing changed.
        """
        check_module_id(module_id)
        name = module_name(module_id)
        known = self.modules.get(name)
        caller = Caller(module_id, generation_id or (known.generation_id if known else _made_up()))
        check_generation_id(caller.generation_id)
        if known is None and len(self.modules) >= MODULES_MAX:
            raise RegistryError(f"{MODULES_MAX} modules are registered; no more are taken")
        if caller != known:
            self._save({**self.modules, name: caller})
        return caller

    def unregister(self, name: str) -> bool:
        """Takes a module out; whether it was there.

        :raises OSError: the file cannot be written; then nothing changed.
        """
        if name not in self.modules:
            return False
        self._save({key: caller for key, caller in self.modules.items() if key != name})
        return True

    @property
    def renewals(self) -> int:
        """How often the CA became another one."""
        return self._content.renewals

    @property
    def restart_due(self) -> bool:
        """Whether modules run with certificates of an earlier CA."""
        return self._content.acknowledged_ca != self._content.ca

    def note_ca(self, fingerprint: str) -> bool:
        """Remembers the CA that is in use.

        :returns: whether it took the place of another, so that modules have to be restarted.
        :raises OSError: the file cannot be written; then nothing changed.
        """
        known = self._content
        if fingerprint == known.ca:
            return False
        if known.ca:
            self._save(self.modules, ca=fingerprint, renewals=known.renewals + 1)
        else:
            self._save(self.modules, ca=fingerprint, acknowledged_ca=fingerprint)
        return bool(known.ca)

    def acknowledge(self, fingerprint: str) -> None:
        """The modules were restarted since this CA is in use.

        :raises OSError: the file cannot be written.
        """
        if fingerprint != self._content.acknowledged_ca:
            self._save(self.modules, acknowledged_ca=fingerprint)

    def _save(self, modules: dict[str, Caller], **changes: str | int) -> None:
        listed = [_Module(caller.module_id, caller.generation_id) for caller in modules.values()]
        content = msgspec.structs.replace(self._content, modules=listed, **changes)
        write_secret(self._path, msgspec.json.encode(content))
        self._content = content
        self.modules = modules

    def _read(self) -> _Content:
        try:
            content = msgspec.json.decode(read_limited(self._path, FILE_BYTES_MAX), type=_Content)
            for each in content.modules:
                check_module_id(each.module_id)
                check_generation_id(each.generation_id)
            if content.version != FILE_VERSION:
                raise RegistryError(f"version {content.version}; expected {FILE_VERSION}")
        except FileNotFoundError:
            return _Content()
        except (msgspec.DecodeError, RegistryError, ValueError) as error:
            aside = set_aside(self._path)
            log.error("%s cannot be used: %s. It is kept as %s; no module is known", self._path, error, aside)
            return _Content()
        return content


def check_module_id(module_id: str) -> None:
    """:raises RegistryError: not the id of a module that may have a socket."""
    name = module_name(module_id)
    if not _NAME.fullmatch(name):
        raise RegistryError(f"module id {module_id[:140]!r}: expected a name for a container")
    wanted = f"${name}" if name in SYSTEM_MODULES else name
    if module_id != wanted:
        raise RegistryError(f"module id {module_id!r}: the identity of the module {name} is {wanted}")


def check_generation_id(generation_id: str) -> None:
    """:raises RegistryError: not of the form that hubs give."""
    if not _GENERATION_ID.fullmatch(generation_id):
        raise RegistryError(f"generation id {generation_id[:140]!r}: expected 1 to 128 letters and digits")


def _made_up() -> str:
    return str(_TICKS_AT_1970 + time.time_ns() // 100)
