"""The zip file of a support bundle: written part by part, with limits."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PART_BYTES_MAX = 32 * 1024 * 1024
"""Of one file in it, before compression; the rest is left out, and a last line says so."""
BUNDLE_BYTES_MAX = 256 * 1024 * 1024
"""Of all files, before compression."""
WRITE_BYTES = 256 * 1024
"""Compressed at once, in a thread."""


class BundleError(AgentError):
    """A support bundle cannot be made."""


class BundleFile:
    """A bundle that grows in a temporary file without a name, so that nothing is left of it in the end.

    :param folder: where the file is; None for the system's place.
    """

    def __init__(self, folder: Path | None = None) -> None:
        try:
            made = tempfile.TemporaryFile(prefix="support-bundle-", dir=folder)  # noqa: SIM115
        except OSError as fault:
            raise BundleError(f"a support bundle cannot be made: {fault.strerror or fault}") from None
        self._file = cast("BinaryIO", made)
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._left = BUNDLE_BYTES_MAX

    async def add(self, name: str, content: bytes) -> None:
        """One file with this content."""

        async def one() -> AsyncIterator[bytes]:
            yield content

        await self.add_stream(name, one())

    async def add_stream(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """One file with pieces as they come, as far as there is room.

        :raises BundleError: the disk is full. What `pieces` raises is raised after the file was closed.
        """
        left = min(PART_BYTES_MAX, self._left)
        with self._zip.open(name, "w") as part:
            batch = bytearray()
            async for piece in pieces:
                if len(piece) > left:
                    batch += piece[:left] + b"\n... cut here: the support bundle takes no more\n"
                    left = 0
                    break
                left -= len(piece)
                self._left -= len(piece)
                batch += piece
                if len(batch) >= WRITE_BYTES:
                    await self._write(part, bytes(batch))
                    batch.clear()
            await self._write(part, bytes(batch))

    async def _write(self, part: IO[bytes], content: bytes) -> None:
        work = asyncio.ensure_future(asyncio.to_thread(part.write, content))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # The part is closed next, which must not happen while a thread writes to it.
            await asyncio.wait([work])
            raise
        except OSError as fault:
            raise BundleError(f"the support bundle cannot be written: {fault.strerror or fault}") from None

    def finish(self) -> BinaryIO:
        """The whole file, at its beginning; the caller closes it."""
        try:
            self._zip.close()
        except OSError as fault:
            raise BundleError(f"the support bundle cannot be written: {fault.strerror or fault}") from None
        self._file.seek(0)
        return self._file

    def drop(self) -> None:
        """Gives it up."""
        # Or it would write its end to the closed file when it is collected.
        self._zip.fp = None
        self._file.close()
