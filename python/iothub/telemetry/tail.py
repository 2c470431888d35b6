"""The log for the event loop: appending with back-pressure, and tailing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from iothub.telemetry.log import Append, TelemetryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from iothub.config import HubLimits
    from iothub.telemetry.event import Chunk

_READ_CHUNKS: Final = 500
_READ_BYTES: Final = 1024 * 1024


class Telemetry:
    """One hub's telemetry.

    :param clock: Unix time.
    :param limits: `ingest_bytes_max` and retention.
    """

    def __init__(self, path: Path, limits: HubLimits, clock: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._grown = asyncio.Event()
        self._room_listeners: list[Callable[[bool], None]] = []
        self._full = False
        self._unfinished = 0
        self.clock = clock
        self.log = TelemetryLog(
            path,
            bytes_max=limits.telemetry_bytes_max,
            age_secs_max=limits.telemetry_age_secs,
            clock=clock,
            on_batch=self._on_batch,
        )

    @property
    def full(self) -> bool:
        """Whether no more should be read from sockets for now."""
        return self._full

    def listen_room(self, listener: Callable[[bool], None]) -> None:
        """Hears True when the log has fallen behind, and False when it has caught up by half."""
        self._room_listeners.append(listener)

    def append(self, item: Append) -> None:
        """Queues a transfer; `item.done` is called on the loop."""
        self._unfinished += 1
        self.log.append(item)
        if not self._full and self.log.pending_bytes > self._limits.ingest_bytes_max:
            self._set_full(True)

    def _set_full(self, full: bool) -> None:
        self._full = full
        for listener in self._room_listeners:
            listener(full)

    def _on_batch(self, items: list[Append], failure: Exception | None) -> None:
        """On the writer thread. The loop is gone only after `close` has waited for this thread."""
        self._loop.call_soon_threadsafe(self._finish, items, failure)

    def _finish(self, items: list[Append], failure: Exception | None) -> None:
        self._unfinished -= len(items)
        for item in items:
            item.done(failure)
        self._grown.set()
        self._grown = asyncio.Event()
        if self._full and self.log.pending_bytes <= self._limits.ingest_bytes_max // 2:
            self._set_full(False)

    async def read(self, sequence: int) -> list[Chunk]:
        """Some chunks with events from `sequence` on, possibly none."""
        work = self.log.read
        return await self._loop.run_in_executor(self.log.reader, work, sequence, _READ_CHUNKS, _READ_BYTES)

    async def tail(self, sequence: int, idle_secs: float | None = None) -> AsyncIterator[list[Chunk]]:
        """Chunks from a position on, for ever, as they are committed.

        :param sequence: first event wanted; events that retention has dropped are skipped.
        :param idle_secs: yield an empty list after this time without events.
        """
        position = sequence
        while True:
            grown = self._grown
            chunks = await self.read(position)
            if chunks:
                position = max(position, chunks[-1].next_sequence)
                yield chunks
                continue
            try:
                async with asyncio.timeout(idle_secs):
                    await grown.wait()
            except TimeoutError:
                yield []

    async def drain(self) -> None:
        """Waits until everything appended so far is committed or has failed, and its senders know."""
        while self._unfinished:
            await self._grown.wait()

    async def close(self) -> None:
        """Commits what is pending and closes the files."""
        await asyncio.to_thread(self.log.close)
