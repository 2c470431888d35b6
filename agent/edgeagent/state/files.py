"""Small files of the agent's state, with errors for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.errors import AgentError
from edgeagent.files import read_optional, write_secret

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX = 16 * 1024 * 1024


class StateFileError(AgentError):
    """State cannot be read or written; the text names the file and why."""


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file; after a power cut there is the old one or the new one, whole.

    :raises StateFileError: the disk does not take it. The old file is untouched.
    """
    try:
        write_secret(path, content)
    except OSError as fault:
        raise StateFileError(f"{path} cannot be written: {fault.strerror or fault}") from None


def read_file(path: Path) -> bytes | None:
    """The content, None when there is no such file.

    :raises StateFileError: it is there and cannot be read, or is far too long.
    """
    try:
        return read_optional(path, FILE_BYTES_MAX)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else None
        raise StateFileError(f"{path} cannot be read: {reason or fault}") from None
