"""Small durable state that is not messages: sessions, identities, the last good configuration.

A key-value table in SQLite (WAL, synchronous=FULL) with one writer thread. Writes that arrive while a
commit is in progress share the next one, so a hundred clients that subscribe at once cost a few syncs.
Reads see writes that are not yet on disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FORMAT_VERSION = 1
PENDING_WRITES_MAX = 10_000
"""Writes that may wait for the disk; one more fails with `StateError`."""
COMMIT_WRITES_MAX = 500
"""Writes that share one commit."""

Change: TypeAlias = tuple[str, str, bytes | None]
"""Bucket, key, and the new value or None to delete."""


log = logging.getLogger(__name__)


class StateError(EdgehubError):
    """The state cannot be opened, or a write failed."""


class StateStore(Protocol):
    """Durable key-value buckets, used from the event-loop thread."""

    def get(self, bucket: str, key: str) -> bytes | None:
        """The newest value, on disk or not yet."""
        ...

    def items(self, bucket: str) -> list[tuple[str, bytes]]:
        """All keys and values of a bucket."""
        ...

    def write(self, changes: Sequence[Change]) -> asyncio.Future[None] | None:
        """Writes all changes or none.

        :returns: a future that is done when they are durable, None when there is nothing to wait for.
        :raises StateError: too many writes are waiting. A write that fails later raises it from the future
            and changes nothing; the next one is tried anew.
        """
        ...

    def close(self) -> None:
        """Finishes all writes and closes. Idempotent."""
        ...


class MemoryState:
    """State that ends with the process (`UsePersistentStorage=false`)."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, bytes]] = {}

    def get(self, bucket: str, key: str) -> bytes | None:
        return self._buckets.get(bucket, {}).get(key)

    def items(self, bucket: str) -> list[tuple[str, bytes]]:
        return sorted(self._buckets.get(bucket, {}).items())

    def write(self, changes: Sequence[Change]) -> asyncio.Future[None] | None:
        for bucket, key, value in changes:
            if value is None:
                self._buckets.get(bucket, {}).pop(key, None)
            else:
                self._buckets.setdefault(bucket, {})[key] = value
        return None

    def close(self) -> None:
        return


@dataclass(slots=True)
class _Write:
    number: int
    changes: Sequence[Change]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class SqliteState:
    """State in one SQLite file.

    :raises StateError: the file cannot be opened, is damaged, or was written by a newer version. There is
        no silent fall-back to memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[tuple[str, str], tuple[int, bytes | None]] = {}
        self._queue: queue.Queue[_Write | None] = queue.Queue(PENDING_WRITES_MAX)
        self._next_number = 0
        self._closed = False
        try:
            self._reader = _open(path)
            self._writer = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot open {path}: {error}") from error
        self._thread = threading.Thread(target=self._run, name="state-writer", daemon=True)
        self._thread.start()

    def get(self, bucket: str, key: str) -> bytes | None:
        waiting = self._pending.get((bucket, key))
        if waiting is not None:
            return waiting[1]
        row = self._read("SELECT value FROM state WHERE bucket = ? AND key = ?", bucket, key)
        return bytes(row[0][0]) if row else None

    def items(self, bucket: str) -> list[tuple[str, bytes]]:
        found: dict[str, bytes] = dict(self._read("SELECT key, value FROM state WHERE bucket = ?", bucket))
        for (waiting_bucket, key), (_, value) in self._pending.items():
            if waiting_bucket != bucket:
                continue
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        return sorted(found.items())

    def write(self, changes: Sequence[Change]) -> asyncio.Future[None] | None:
        if self._closed:
            raise StateError(f"{self._path} is closed")
        if not changes:
            return None
        loop = asyncio.get_running_loop()
        self._next_number += 1
        entry = _Write(self._next_number, tuple(changes), loop.create_future(), loop)
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            raise StateError(f"{PENDING_WRITES_MAX} writes wait for {self._path}") from None
        for bucket, key, value in entry.changes:
            self._pending[bucket, key] = (entry.number, value)
        return entry.done

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    def _read(self, query: str, *arguments: str) -> list[Any]:
        try:
            return self._reader.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise StateError(f"cannot read {self._path}: {error}") from error

    # The writer thread: it only ever touches the queue and its own connection.

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            batch, open_for_more = self._next_batch()
            if batch:
                failure = self._commit(batch)
                _tell(batch, self._settle, failure)
        self._writer.close()

    def _next_batch(self) -> tuple[list[_Write], bool]:
        batch: list[_Write] = []
        entry = self._queue.get()
        while entry is not None:
            batch.append(entry)
            if len(batch) >= COMMIT_WRITES_MAX:
                return batch, True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Write]) -> str | None:
        try:
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                for entry in batch:
                    _apply(self._writer, entry.changes)
        except sqlite3.Error as error:
            return f"cannot write {self._path}: {error}"
        return None

    # Back on the event-loop thread.

    def _settle(self, batch: list[_Write], failure: str | None) -> None:
        for entry in batch:
            for bucket, key, _ in entry.changes:
                if self._pending.get((bucket, key), (0, None))[0] == entry.number:
                    del self._pending[bucket, key]
            if entry.done.cancelled():
                continue
            if failure is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(StateError(failure))


def log_failure(written: asyncio.Future[None] | None, what: str) -> None:
    """For a write that nobody waits for: a failure gives one log line and the next change tries again."""

    def on_done(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            log.warning("%s could not be stored: %s", what, done.exception())

    if written is not None:
        written.add_done_callback(on_done)


def _tell(
    batch: list[_Write], settle: Callable[[list[_Write], str | None], None], failure: str | None
) -> None:
    try:
        batch[0].loop.call_soon_threadsafe(settle, batch, failure)
    except RuntimeError:
        # The loop has ended: nobody waits for the answer any more, and the data is written.
        return


def _apply(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    for bucket, key, value in changes:
        if value is None:
            connection.execute("DELETE FROM state WHERE bucket = ? AND key = ?", (bucket, key))
        else:
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (bucket, key, value))


def _open(path: Path) -> sqlite3.Connection:
    """Opens the file for this owner alone and brings it to the current format."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, cached_statements=16)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    # The version first: a file of a newer format is left as it is.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise StateError(
            f"{path} has format {version}, this version reads up to {FORMAT_VERSION}: use a newer edgehub"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -256")
    if version == 0:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS state (bucket TEXT, key TEXT, value BLOB NOT NULL,"
            " PRIMARY KEY (bucket, key)) WITHOUT ROWID"
        )
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
