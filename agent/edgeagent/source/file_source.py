"""The deployment in a file (`edgeagent run --manifest FILE`): no cloud at all.

The file is looked at twice a second and read when it has settled; one that cannot be read leaves the last
good one in force. Looking at it costs less than a watch would, and sees files that are replaced or mounted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from edgeagent.errors import AgentError
from edgeagent.manifest.envelope import FILE_BYTES_MAX, read_manifest_text
from edgeagent.source.desired import Desired, DesiredBox
from edgeagent.source.file_state import POLL_S, FileState, Signature

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


class ManifestFileError(AgentError):
    """The file cannot be read at all."""


class FileSource:
    """Follows a file.

    :param box: takes the desired properties. Their version is the `$version` of the file if it has one that
        goes up; otherwise it counts the changes seen.
    """

    def __init__(self, path: Path, box: DesiredBox) -> None:
        self._path = path
        self._box = box
        self._state = FileState()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.look(loop.time())
            await asyncio.sleep(POLL_S)

    def look(self, now: float) -> None:
        """Reads the file if that is due."""
        if not self._state.should_read(self._signature(), now):
            return
        try:
            document = read_manifest_text(self._text())
        except AgentError as fault:
            log.error("%s: %s; the last good deployment stays in force", self._path, fault)
            self._box.fail(fault)
            return
        self._box.put(self._versioned(document))

    def _signature(self) -> Signature | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return Signature(found.st_ino, found.st_mtime_ns, found.st_size)

    def _text(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(FILE_BYTES_MAX + 1)
        except OSError as fault:
            raise ManifestFileError(f"cannot be read: {fault.strerror or fault}") from None

    def _versioned(self, document: Any) -> Desired:
        latest = self._box.latest()
        content, told = document, None
        if isinstance(document, dict):
            told = document.get("$version")
            content = {name: value for name, value in document.items() if not name.startswith("$")}
        before = 0 if latest is None else latest.version
        if latest is not None and Desired(before, content).same_as(latest):
            return latest
        if isinstance(told, int) and not isinstance(told, bool) and told > before:
            return Desired(told, content)
        return Desired(before + 1, content)
