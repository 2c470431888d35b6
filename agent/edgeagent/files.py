"""Small files that must be whole or absent, and that nobody else may read."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRET_FILE_MODE = 0o600
SECRET_FOLDER_MODE = 0o700


def make_folder(folder: Path, mode: int = SECRET_FOLDER_MODE) -> None:
    """Makes a folder, and gives it this mode also when it was there before.

    :raises OSError: it cannot be made or is not ours.
    """
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o7777 != mode:
        folder.chmod(mode)


def write_secret(path: Path, content: bytes) -> None:
    """Replaces a file at once: a reader sees the old content or the new one, also after a power cut. Its
    folder is made when it is missing.

    :raises OSError: it cannot be written; then the old file is as it was.
    """
    path.parent.mkdir(mode=SECRET_FOLDER_MODE, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    # What a crash left behind is in the way, and nothing else has this name.
    temporary.unlink(missing_ok=True)
    _write_new(temporary, content)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_secret(path: Path, content: bytes) -> bool:
    """Makes a file that is never replaced.

    :returns: whether it was made; False when there was one already, which stays.
    :raises OSError: it cannot be written.
    """
    # Two processes may try this at once.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write_new(temporary, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def read_limited(path: Path, bytes_max: int) -> bytes:
    """The content of a file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is longer than `bytes_max`.
    """
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ValueError(f"{path}: more than {bytes_max} bytes")
    return content


def read_optional(path: Path, bytes_max: int) -> bytes | None:
    """As :func:`read_limited`, None when there is no such file."""
    try:
        return read_limited(path, bytes_max)
    except FileNotFoundError:
        return None


def set_aside(path: Path) -> Path:
    """Renames a damaged file out of the way, so that it can be looked at; its new name."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return aside


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
