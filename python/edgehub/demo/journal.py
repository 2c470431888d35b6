"""JSON-lines files in which the child processes write down what they did, one object per line."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

LINE_BYTES_MAX: Final = 64 * 1024
"""A longer line without an end is damage, not a line that is still being written."""


class JournalError(ValueError):
    """A line that is no JSON object. The text names file and line."""


class JournalWriter:
    """Appends lines; each is handed to the system at once, so that a killed process loses none."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def write(self, **entry: object) -> None:
        """Appends one object."""
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LineSplitter:
    """Whole lines from pieces of a file. Pure."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rest = b""
        self._number = 0

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The objects of the lines that are complete now.

        :raises JournalError: a line is no JSON object, or too long.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise JournalError(f"{self._source}: line {self._number + len(lines) + 1} is too long")
        return [self._entry(line) for line in lines]

    def _entry(self, line: bytes) -> dict[str, Any]:
        self._number += 1
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise JournalError(f"{self._source}: line {self._number} is no JSON object")
        return entry


class JournalReader:
    """Follows a file that another process writes; it may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._splitter = LineSplitter(str(path))
        self._offset = 0

    def read_new(self) -> list[dict[str, Any]]:
        """Objects written since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                piece = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(piece)
        return self._splitter.feed(piece)
