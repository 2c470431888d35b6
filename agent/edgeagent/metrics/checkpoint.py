"""Remembers when the agent was last alive, so that the time it was away can be told (agent spec 6.2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from edgeagent.metrics.ticks import ms_of_ticks, ticks
from edgeagent.state.files import StateFileError, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CHECKPOINT_FILE = "availability/avaliability.checkpoint"
"""Below the folder of the agent's state; spelled as in the reference."""
PERIOD_S = 300.0
DOWNTIME_S_MAX = 366 * 24 * 3600
"""What seems longer is the clock, and not counted."""

_TICKS = re.compile(rb"\d{1,19}", re.ASCII)

log = logging.getLogger(__name__)


class Checkpoint:
    """A file with the time, rewritten every five minutes, and removed when the agent ends as it should.

    :param state: folder of the agent's state.
    :param now_ms: wall clock, UTC since 1970.
    """

    def __init__(self, state: Path, now_ms: Callable[[], int]) -> None:
        self._path = state / CHECKPOINT_FILE
        self._now_ms = now_ms
        self._ended = False
        # A write may still be under way in its thread when the agent ends.
        self._lock = threading.Lock()

    def downtime_s(self) -> float:
        """How long the agent was away; 0 after a clean end, and where nobody can tell."""
        try:
            content = read_file(self._path)
        except StateFileError as fault:
            log.warning("the time that the agent was away is not known: %s", fault)
            return 0.0
        return downtime_s(content, self._now_ms())

    def write(self) -> None:
        """:raises StateFileError: the disk does not take it."""
        with self._lock:
            if not self._ended:
                write_file(self._path, str(ticks(self._now_ms())).encode())

    def remove(self) -> None:
        """The agent ends as it should; nothing is written any more."""
        with self._lock:
            self._ended = True
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def run(self, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Writes it until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.write)
            except StateFileError as fault:
                log.warning("%s", fault)
            await sleep(PERIOD_S)


def downtime_s(content: bytes | None, now_ms: int) -> float:
    """Time since a checkpoint.

    :param content: of the file, None where there is none.
    """
    if content is None or not _TICKS.fullmatch(content.strip()):
        return 0.0
    passed_s = (now_ms - ms_of_ticks(int(content))) / 1000
    return passed_s if 0.0 < passed_s <= DOWNTIME_S_MAX else 0.0
