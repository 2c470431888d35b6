"""Keeps the last good deployment sealed on disk, without holding up the loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgeagent.source.backup import Backup, BackupError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.source.desired import Desired
    from edgeagent.workload.client import WorkloadControl

PURPOSE = "deployment"
RETRY_S = 60.0

_log = logging.getLogger(__name__)


class DeploymentKeeper:
    """Saves the newest deployment in the background; what cannot be saved is tried again."""

    def __init__(self, path: Path, workload: WorkloadControl) -> None:
        self._backup = Backup(
            path, lambda content: workload.seal(content, PURPOSE), lambda it: workload.unseal(it, PURPOSE)
        )
        self._newest: Desired | None = None
        self._wake = asyncio.Event()

    async def load(self) -> Desired | None:
        """The deployment that was kept, None without one."""
        return await self._backup.load()

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
            await self._backup.save(desired)
        except BackupError as fault:
            _log.error("the deployment is not kept for a start without hub: %s", fault)
            return False
        return True
