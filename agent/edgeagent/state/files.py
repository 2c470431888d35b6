"""Small files that are whole or not there: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX = 16 * 1024 * 1024


class StateFileError(AgentError):
    """State cannot be read or written; the text names the file and why."""


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces a file; after a power cut there is the old one or the new one, whole.

    :raises StateFileError: the disk does not take it. The old file is untouched.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        _sync_folder(path.parent)
    except OSError as fault:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise StateFileError(f"{path} cannot be written: {fault.strerror or fault}") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path) -> bytes | None:
    """The content, None when there is no such file.

    :raises StateFileError: it is there and cannot be read, or is far too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise StateFileError(f"{path} cannot be read: {fault.strerror or fault}") from None
    if len(content) > FILE_BYTES_MAX:
        raise StateFileError(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return content
