"""When a watched file has changed for good: pure, time passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

POLL_S: Final = 0.5
DEBOUNCE_S: Final = 0.5
"""A file that is still being written changes again within this time."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What differs when a file was written or replaced."""

    inode: int
    modified_ns: int
    bytes: int


class FileState:
    """Reads are due when a signature is new and has not changed for a while. None stands for no file."""

    def __init__(self) -> None:
        self._read: Signature | None = None
        self._seen: Signature | None = None
        self._seen_at = 0.0
        self._first = True

    def should_read(self, signature: Signature | None, now: float) -> bool:
        """Whether to read now; the very first time at once, for nothing is in force yet."""
        if signature != self._seen:
            self._seen, self._seen_at = signature, now
        if self._first or (signature != self._read and now - self._seen_at >= DEBOUNCE_S):
            self._first = False
            self._read = signature
            return True
        return False
