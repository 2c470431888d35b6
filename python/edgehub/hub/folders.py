"""The data folder: where it is, and that only one hub uses it (settings spec 1.1)."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgehub.errors import EdgehubError

SUB_FOLDER = "edgeHub"

log = logging.getLogger(__name__)


class FolderError(EdgehubError):
    """The data folder cannot be used."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A locked data folder.

    :param lock_fd: holds the lock as long as it is open.
    """

    path: Path
    lock_fd: int

    @property
    def messages(self) -> Path:
        """Folder of the message store."""
        return self.path / "messages"

    @property
    def state_file(self) -> Path:
        """File of everything durable that is not a message."""
        return self.path / "state.db"

    @property
    def secret_file(self) -> Path:
        """File of the secret of a hub that has no key of its own."""
        return self.path / "secret"

    def release(self) -> None:
        """Lets another process use the folder."""
        os.close(self.lock_fd)


def choose_base(setting: str) -> tuple[Path, str | None]:
    """The base folder for a `StorageFolder` setting, and a warning if it is not the one asked for.

    As in the reference a folder that does not exist is replaced by the system's temporary folder.
    """
    fallback = Path(tempfile.gettempdir())
    if not setting.strip():
        return fallback, None
    base = Path(setting)
    if base.is_dir():
        return base, None
    return fallback, f"StorageFolder={setting} does not exist; data is kept in {fallback / SUB_FOLDER}"


def open_data_folder(base: Path) -> DataFolder:
    """Creates the sub-folder if needed, for this owner alone, and locks it.

    :raises FolderError: no permission, not a folder, or another hub is using it.
    """
    path = base / SUB_FOLDER
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        (path / "messages").mkdir(mode=0o700, exist_ok=True)
        _protect(path)
        lock_fd = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderError(f"the data folder {path} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock_fd)
        raise FolderError(f"the data folder {path} is in use by another hub") from None
    return DataFolder(path, lock_fd)


def _protect(path: Path) -> None:
    """A folder that was there before, for example from a backup, may be open to others."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return
    try:
        path.chmod(0o700)
    except OSError as error:
        log.warning(
            "The data folder %s is open to others (mode %o) and stays so: %s", path, mode, error.strerror
        )
