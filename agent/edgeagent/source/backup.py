"""The last good deployment on disk, sealed, for a start without a hub (rows O05 to O07).

Whoever keeps it must save nothing that could not be used: what the backup gives is used without asking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from edgeagent.errors import AgentError
from edgeagent.files import read_optional, write_secret
from edgeagent.manifest.envelope import FILE_BYTES_MAX
from edgeagent.model.canonical import canonical_json
from edgeagent.source.desired import Desired

if TYPE_CHECKING:
    from pathlib import Path

Seal: TypeAlias = Callable[[bytes], Awaitable[bytes]]
SEALED_BYTES_MAX: Final = 2 * FILE_BYTES_MAX

log = logging.getLogger(__name__)


class BackupError(AgentError):
    """The backup cannot be written."""


class Backup:
    """One file.

    :param seal: encrypts, under a key that stays on this device.
    :param unseal: the reverse; raises for what was changed or sealed elsewhere.
    """

    def __init__(self, path: Path, seal: Seal, unseal: Seal) -> None:
        self._path = path
        self._seal = seal
        self._unseal = unseal
        self._kept: Desired | None = None
        self._lock = asyncio.Lock()

    async def save(self, desired: Desired) -> bool:
        """Keeps a deployment that was found good; whether there was anything to write.

        :raises BackupError: it could not be sealed or written; the old one stays.
        """
        async with self._lock:
            if desired.same_as(self._kept):
                return False
            content = canonical_json({"version": desired.version, "deploymentConfig": desired.document})
            try:
                await asyncio.to_thread(write_secret, self._path, await self._seal(content))
            except (OSError, AgentError) as fault:
                raise BackupError(f"{self._path} cannot be written: {fault}") from None
            self._kept = desired
            return True

    async def load(self) -> Desired | None:
        """The deployment kept, None without one; one that cannot be read is logged and counts as none."""
        try:
            sealed = await asyncio.to_thread(read_optional, self._path, SEALED_BYTES_MAX)
            if sealed is None:
                return None
            self._kept = _desired(msgspec.json.decode(await self._unseal(sealed)))
        except Exception as fault:
            # An agent that starts offline starts, whatever is wrong with the file or its key.
            text = str(fault) or type(fault).__name__
            log.error("The last good deployment in %s cannot be used: %s", self._path, text)
            return None
        return self._kept


def _desired(content: Any) -> Desired:
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise ValueError("not a deployment with its version")
    return Desired(content["version"], content.get("deploymentConfig"))
