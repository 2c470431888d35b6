"""The task that deletes images (agent spec 7.10, rows X10, X11)."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeagent.image_gc.decision import first_run, next_run, plan, still_due
from edgeagent.runtime.errors import EngineError, RuntimeFault
from edgeagent.runtime.images import find_image, remove_image
from edgeagent.runtime.labels import OWNER, OWNER_VALUE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edgeagent.image_gc.settings import GcSettings
    from edgeagent.image_gc.uses import ImageUses
    from edgeagent.runtime.engine import Engine

log = logging.getLogger(__name__)

SLEEP_S_MAX = 3600.0
"""Longest sleep; the clock is read again after it, as it may have been set."""


@dataclass(frozen=True, slots=True)
class GcOutcome:
    """Of one run, by image id.

    :param failed: the engine refused to delete these.
    """

    deleted: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class ImageGarbageCollection:
    """Deletes images that nothing has used for long."""

    def __init__(
        self,
        engine: Engine,
        uses: ImageUses,
        settings: GcSettings,
        wanted: Callable[[], Iterable[str]],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """:param wanted: references of images that stay: the agent's own, and those of the deployment."""
        self._engine = engine
        self._uses = uses
        self._settings = settings
        self._wanted = wanted
        self._now_s = now_s

    async def run(
        self,
        now: Callable[[], datetime] = datetime.now,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """Runs at the time of the day that the settings give, for ever; at once over if it is not wanted.

        :param now: local time without zone.
        """
        if not self._settings.enabled:
            return
        due = first_run(now(), self._settings)
        while True:
            while (left_s := (due - now()).total_seconds()) > 0:
                await sleep(min(left_s, SLEEP_S_MAX))
                due = still_due(due, now(), self._settings)
            await self._try()
            due = next_run(now(), self._settings)

    async def _try(self) -> None:
        try:
            outcome = await self.collect()
        except (RuntimeFault, OSError) as fault:
            log.warning("images are not cleaned up this time: %s", fault)
            return
        log.info("cleaned up images: %d deleted, %d not", len(outcome.deleted), len(outcome.failed))

    async def collect(self) -> GcOutcome:
        """One run.

        :raises RuntimeFault: the engine does not say what is in use, or went away; what was not tried yet
            stays for the next run (row X11).
        :raises OSError: the file of uses cannot be written.
        """
        began_s = int(self._now_s())
        wanted = [await find_image(self._engine, reference) for reference in self._wanted()]
        in_use, foreign = await self._in_use()
        protected = {image_id for image_id in wanted if image_id is not None} | foreign
        decided = plan(await self._uses.all(), began_s, self._settings.image_age_s, in_use, protected)
        deleted: list[str] = []
        failed: list[str] = []
        try:
            for image_id in decided.delete:
                if (await self._uses.all()).get(image_id, 0) >= began_s:
                    continue  # used while this run went on
                (deleted if await self._delete(image_id) else failed).append(image_id)
        finally:
            await self._uses.settle(decided.keep, (*deleted, *failed))
        return GcOutcome(tuple(deleted), tuple(failed))

    async def _delete(self, image_id: str) -> bool:
        try:
            await remove_image(self._engine, image_id)
        except EngineError as fault:
            log.warning("the image %s is not deleted: %s", image_id, fault)
            return False
        log.info("deleted the image %s", image_id)
        return True

    async def _in_use(self) -> tuple[set[str], set[str]]:
        """Images of containers of ours, and of those of others, which must not lose theirs either."""
        rows = await self._engine.rows("/containers/json", {"all": True, "limit": 0})
        ours: set[str] = set()
        foreign: set[str] = set()
        for row in rows:
            given = row.get("Labels")
            is_ours = isinstance(given, dict) and given.get(OWNER) == OWNER_VALUE
            (ours if is_ours else foreign).add(str(row.get("ImageID")))
        return ours, foreign
