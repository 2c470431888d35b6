"""Follows iothub's telemetry log: what has come is noted in the ledger before retention drops it."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from soaking.ledger import stamps

if TYPE_CHECKING:
    from pathlib import Path

    from soaking.ledger import Ledger

CHUNKS_AT_ONCE = 2000
SELECT = (
    "SELECT first_sequence, count, message_format, payload FROM chunks WHERE first_sequence >= ?"
    " ORDER BY first_sequence LIMIT ?"
)


class GapError(Exception):
    """The log has dropped events before they were read."""


class Follower:
    """A reader of the log beside iothub, which goes on writing."""

    def __init__(self, path: Path, ledger: Ledger, body_bytes: int) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        self._ledger = ledger
        self._body_bytes = body_bytes
        self._next = 1
        # A reader on a thread may still be at work when its task is cancelled.
        self._lock = threading.Lock()

    def read(self) -> int:
        """Notes what is new; gives the number of messages. May be called from any thread.

        Raises:
            GapError: events are missing from the log.
            LedgerError: a message is not of this run.
            sqlite3.Error: the log cannot be read.
        """
        with self._lock:
            first = self._next
            while rows := self._connection.execute(SELECT, (self._next, CHUNKS_AT_ONCE)).fetchall():
                for row in rows:
                    self._take(*row)
            return self._next - first

    def _take(self, first: int, count: int, message_format: int, payload: bytes) -> None:
        if first != self._next:
            raise GapError(f"the log goes on at {first}; {self._next} was expected")
        for publisher, number in stamps(payload, message_format, self._body_bytes):
            self._ledger.note(publisher, number)
        self._next = first + count

    def close(self) -> None:
        """Ends reading."""
        with self._lock:
            self._connection.close()
