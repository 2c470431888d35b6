"""Identities that this device has had, on disk: modules can be made anew without a hub (agent spec 7.7)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edgeagent.files import read_optional, write_secret
from edgeagent.identity.errors import RegistryAnswerError
from edgeagent.identity.model import ModuleIdentity, read_identities

if TYPE_CHECKING:
    from pathlib import Path

CACHE_BYTES_MAX: Final = 1024 * 1024

log = logging.getLogger(__name__)


class IdentityCache:
    """One file; it holds generation ids, but no keys. Both calls wait for the disk: make them in a thread.

    :param hub_hostname: those of another hub or device are forgotten.
    """

    def __init__(self, path: Path, hub_hostname: str, device_id: str) -> None:
        self._path = path
        self._owner = f"{hub_hostname}/{device_id}"
        self._written: bytes | None = None

    def load(self) -> dict[str, ModuleIdentity]:
        """By module id; empty when there are none that can be used."""
        try:
            content = read_optional(self._path, CACHE_BYTES_MAX)
            if content is None:
                return {}
            document = msgspec.json.decode(content)
            if not isinstance(document, Mapping) or document.get("owner") != self._owner:
                return {}
            found = read_identities(msgspec.json.encode(document.get("modules")))
        except (OSError, ValueError, msgspec.DecodeError, RecursionError, RegistryAnswerError) as fault:
            log.warning("The identities in %s cannot be used: %s", self._path, fault)
            return {}
        self._written = content
        return {identity.module_id: identity for identity in found}

    def save(self, identities: Iterable[ModuleIdentity]) -> None:
        """Keeps them; a failure is logged, for it matters only at a start without a hub."""
        modules = [_entry(one) for one in sorted(identities, key=lambda one: one.module_id)]
        content = msgspec.json.encode({"owner": self._owner, "modules": modules})
        if content == self._written:
            return
        try:
            write_secret(self._path, content)
        except OSError as fault:
            log.warning("The identities cannot be kept in %s: %s", self._path, fault)
            return
        self._written = content


def _entry(identity: ModuleIdentity) -> dict[str, Any]:
    return {
        "moduleId": identity.module_id,
        "generationId": identity.generation_id,
        "managedBy": identity.managed_by,
    }
