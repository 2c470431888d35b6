"""Files with secrets: readable by the agent alone, and either whole or the old ones after a power cut."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_MODE: Final = 0o700


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file: temporary file, fsync, rename, fsync of the folder. Mode 0600, folder 0700.

    :raises OSError: it stays as it was.
    """
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    # mkstemp makes files with mode 0600.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, bytes_max: int) -> bytes | None:
    """The content, None when there is no such file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is larger than it may be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except FileNotFoundError:
        return None
    if len(content) > bytes_max:
        raise ValueError(f"more than {bytes_max} bytes")
    return content
