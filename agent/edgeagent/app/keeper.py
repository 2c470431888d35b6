"""Keeps the last good deployment sealed on disk, without holding up the loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgeagent.errors import AgentError
from edgeagent.source.backup import Backup

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.source.desired import Desired
    from edgeagent.workload.client import WorkloadControl

PURPOSE = "deployment"
SEAL_S = 90.0
RETRY_S = 60.0

_log = logging.getLogger(__name__)


class DeploymentKeeper:
    """Saves the newest deployment in the background; what cannot be saved is tried again."""

    def __init__(self, path: Path, workload: WorkloadControl) -> None:
        self._loop = asyncio.get_running_loop()
        self._workload = workload
        self._backup = Backup(path, self._seal, self._unseal)
        self._newest: Desired | None = None
        self._wake = asyncio.Event()

    def _seal(self, content: bytes) -> bytes:
        """Called in a thread; the workload service has the key."""
        work = self._workload.seal(content, PURPOSE)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SEAL_S)

    def _unseal(self, content: bytes) -> bytes:
        work = self._workload.unseal(content, PURPOSE)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SEAL_S)

    async def load(self) -> Desired | None:
        """The deployment that was kept, None without one."""
        return await asyncio.to_thread(self._backup.load)

    def keep(self, desired: Desired) -> None:
        """Saves it soon."""
        self._newest = desired
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._newest is not None and not await self._save(self._newest):
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _save(self, desired: Desired) -> bool:
        try:
            await asyncio.to_thread(self._backup.save, desired)
        except (AgentError, TimeoutError) as fault:
            _log.error("the deployment is not kept for a start without hub: %s", fault)
            return False
        return True
