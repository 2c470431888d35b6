"""The telemetry log: group commit into SQLite, retention, and reading from a position.

One writer thread; while it waits for the disk the next batch gathers, so a commit holds whatever came during
the last one and no timer is involved. WAL mode with `synchronous=FULL`: a commit that returned survives power
loss.

Why SQLite and not files of our own: a row holds a whole transfer, so the rate of rows is that of transfers;
the cost is in proton and the disk. Crash safety, reading while writing, and other people's tools come with
it.

Retention: when the payload bytes pass their limit, or events their age, the oldest chunks are deleted and
counted in `dropped`. SQLite uses their pages again, so the file stays at its largest size.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgehub.errors import EdgehubError
from iothub.telemetry.event import Chunk, Origin

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
_ROW_OVERHEAD_BYTES: Final = 128
_AGE_CHECK_SECS: Final = 60.0
_DELETE_CHUNKS: Final = 2000
"""Chunks deleted in one transaction, so that retention never holds up a commit for long."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS chunks(
    first_sequence INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    module_id TEXT,
    generation_id TEXT NOT NULL,
    auth_type TEXT NOT NULL,
    message_format INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_INSERT: Final = "INSERT INTO chunks VALUES(?,?,?,?,?,?,?,?,?)"
_SELECT: Final = (
    "SELECT * FROM chunks WHERE first_sequence + count > ? AND first_sequence >= ? ORDER BY first_sequence"
)


class LogError(EdgehubError):
    """The log cannot be opened."""


@dataclass(slots=True)
class Append:
    """A transfer to store.

    :ivar done: called by the owner of `on_batch` with None, or with what went wrong.
    """

    origin: Origin
    message_format: int
    count: int
    payload: bytes
    enqueued_ms: int
    done: Callable[[Exception | None], None]


BatchListener = Callable[[list[Append], Exception | None], None]


class TelemetryLog:
    """Append and read.

    :param path: database file, made with mode 0600.
    :param bytes_max: payload bytes kept.
    :param age_secs_max: age of events kept.
    :param clock: Unix time.
    :param on_batch: called on the writer thread after every commit or failed commit; hand over to your own
        thread and call each `done` there.
    :raises LogError: damaged, not writable, or written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int,
        age_secs_max: int,
        clock: Callable[[], float],
        on_batch: BatchListener,
    ) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._age_secs_max = age_secs_max
        self._clock = clock
        self._on_batch = on_batch
        self._lock = threading.Condition()
        self._pending: list[Append] = []
        self._stopping = False
        self.pending_bytes = 0
        self.dropped = 0
        self.committed = 0
        self._age_checked = 0.0
        self._connection = self._open(path)
        self.next_sequence, self._stored_bytes = self._read_totals()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telemetry-read")
        self._reading: sqlite3.Connection | None = None
        self._writer = threading.Thread(target=self._write_loop, name="telemetry-write", daemon=True)
        self._writer.start()

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            found = connection.execute("SELECT value FROM meta WHERE name='format'").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise LogError(f"{path}: {error}") from None
        if found is None:
            connection.execute("INSERT INTO meta VALUES('format', ?)", (FORMAT_VERSION,))
        elif found[0] > FORMAT_VERSION:
            raise LogError(f"{path} has format {found[0]}; this program knows up to {FORMAT_VERSION}")
        return connection

    def _read_totals(self) -> tuple[int, int]:
        """Next sequence number and bytes kept. The number is also kept in `meta`, for a log emptied by
        age."""
        execute = self._connection.execute
        last = execute(
            "SELECT first_sequence + count FROM chunks ORDER BY first_sequence DESC LIMIT 1"
        ).fetchone()
        kept = execute("SELECT value FROM meta WHERE name='next_sequence'").fetchone()
        size = execute(
            "SELECT COALESCE(SUM(LENGTH(payload) + ?), 0) FROM chunks", (_ROW_OVERHEAD_BYTES,)
        ).fetchone()
        return max(last[0] if last else 1, kept[0] if kept else 1), size[0]

    # ---- writing

    def append(self, item: Append) -> None:
        """Queues a transfer for the next commit. The caller bounds `pending_bytes`."""
        with self._lock:
            self._pending.append(item)
            self.pending_bytes += len(item.payload)
            if len(self._pending) == 1:
                self._lock.notify()

    def _take(self) -> list[Append] | None:
        with self._lock:
            while not self._pending and not self._stopping:
                if not self._lock.wait(timeout=_AGE_CHECK_SECS):
                    return []
            if not self._pending:
                return None
            items, self._pending = self._pending, []
            return items

    def _write_loop(self) -> None:
        while (items := self._take()) is not None:
            if items:
                self._commit(items)
            try:
                self._retain()
            except sqlite3.Error as error:
                log.error("telemetry log: cannot delete old events: %s", error)

    def _commit(self, items: list[Append]) -> None:
        failure: Exception | None = None
        sequence = self.next_sequence
        rows: list[tuple[Any, ...]] = []
        for item in items:
            origin = item.origin
            rows.append(
                (sequence, item.count, item.enqueued_ms, origin.device_id, origin.module_id,
                 origin.generation_id, origin.auth_type, item.message_format, item.payload)
            )  # fmt: skip
            sequence += item.count
        try:
            self._transaction(_INSERT, rows)
        except sqlite3.Error as error:
            failure = error
            log.error("telemetry log: %d transfers could not be stored: %s", len(items), error)
        size = sum(len(item.payload) for item in items)
        if failure is None:
            self.committed += sequence - self.next_sequence
            self.next_sequence = sequence
            self._stored_bytes += size + _ROW_OVERHEAD_BYTES * len(items)
        with self._lock:
            self.pending_bytes -= size
        self._on_batch(items, failure)

    def _transaction(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(statement, rows)
            execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    # ---- retention

    def _retain(self) -> None:
        while self._stored_bytes > self._bytes_max and self._delete("1", ()):
            pass
        now = self._clock()
        if abs(now - self._age_checked) >= _AGE_CHECK_SECS:
            self._age_checked = now
            self._delete("enqueued_ms < ?", (int((now - self._age_secs_max) * 1000),), by_age=True)

    def _delete(self, where: str, values: tuple[Any, ...], *, by_age: bool = False) -> bool:
        """Deletes the oldest chunks that match, by size only as many as are too many; whether any was."""
        oldest = f"FROM chunks WHERE {where} ORDER BY first_sequence LIMIT {_DELETE_CHUNKS}"
        found = self._connection.execute(
            f"SELECT first_sequence, count, LENGTH(payload) {oldest}", values
        ).fetchall()
        size = events = 0
        last = None
        for first_sequence, count, length in found:
            if not by_age and self._stored_bytes - size <= self._bytes_max:
                break
            size += length + _ROW_OVERHEAD_BYTES
            events += count
            last = first_sequence
        if last is None:
            return False
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(
            "INSERT OR REPLACE INTO meta VALUES('next_sequence', ?)", (self.next_sequence,)
        )
        self._connection.execute("DELETE FROM chunks WHERE first_sequence <= ?", (last,))
        self._connection.execute("COMMIT")
        self._stored_bytes -= size
        self.dropped += events
        return True

    # ---- reading

    @property
    def reader(self) -> ThreadPoolExecutor:
        """The thread to run `read` on."""
        return self._reader

    def read(self, sequence: int, chunks_max: int, bytes_max: int) -> list[Chunk]:
        """Chunks with events from `sequence` on, oldest first; call on `reader`.

        :param bytes_max: stop once the payloads pass this; at least one chunk comes if there is one.
        """
        if self._reading is None:
            self._reading = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, check_same_thread=False)
        # The chunk that holds `sequence` may begin before it.
        before = self._reading.execute(
            "SELECT MAX(first_sequence) FROM chunks WHERE first_sequence <= ?", (sequence,)
        ).fetchone()[0]
        chunks: list[Chunk] = []
        size = 0
        for row in self._reading.execute(_SELECT, (sequence, before or 0)):
            chunks.append(Chunk(row[0], row[1], row[2], Origin(*row[3:7]), row[7], row[8]))
            size += len(row[8])
            if len(chunks) >= chunks_max or size >= bytes_max:
                break
        return chunks

    def close(self) -> None:
        """Commits what is pending, then closes."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        self._writer.join()
        self._reader.shutdown()
        if self._reading is not None:
            self._reading.close()
        self._connection.close()
