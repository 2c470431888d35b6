"""Feedback for the event loop: batches for its readers, in the service."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from iothub.c2d import feedback_store as store
from iothub.c2d.model import MS
from iothub.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from iothub.c2d.feedback_store import FeedbackBatch
    from iothub.c2d.model import C2dLimits
    from iothub.database import Database

log = logging.getLogger(__name__)


class Feedback:
    """All feedback. Readers share it: each batch goes to one of them.

    :param changed: called when the time of the next batch may be another.
    :ivar dropped: records that nobody fetched in time, or that were too many, since the start.
    """

    def __init__(
        self, database: Database, limits: C2dLimits, clock: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._changed = changed
        self._readers: list[Callable[[], None]] = []
        self._told = False
        self.dropped = 0

    def _now_ms(self) -> int:
        return int(self._clock() * MS)

    def attach(self, wake: Callable[[], None]) -> Callable[[], None]:
        """A reader listens until the returned function is called.

        :param wake: called when there may be a batch to take.
        """
        self._readers.append(wake)
        self._retell()

        def detach() -> None:
            if wake in self._readers:
                self._readers.remove(wake)

        return detach

    def _retell(self) -> None:
        self._told = False
        self._changed()

    async def take(self) -> FeedbackBatch | None:
        """Locks the next batch, if it is due."""
        token = uuid.uuid4()

        def work() -> FeedbackBatch | None:
            with self._database.engine.begin() as connection:
                return store.take_batch(connection, self._now_ms(), token, self._limits)

        batch = await self._database.run(work)
        self._retell()
        return batch

    async def complete(self, token: UUID) -> None:
        """A batch was read.

        :raises HubError: 412002.
        """

        def work() -> None:
            with self._database.engine.begin() as connection:
                store.complete_batch(connection, self._now_ms(), token)

        await self._database.run(work)

    async def abandon(self, token: UUID) -> None:
        """The reader wants a batch again, later.

        :raises HubError: 412002.
        """

        def work() -> int:
            with self._database.engine.begin() as connection:
                return store.abandon_batch(connection, self._now_ms(), token, self._limits)

        self._count(await self._database.run(work), "abandoned too often")
        self._retell()

    async def release(self, token: UUID) -> None:
        """The reader of a batch has gone without a word."""

        def work() -> None:
            with self._database.engine.begin() as connection:
                store.release_batch(connection, token)

        try:
            await self._database.run(work)
        except HubError as error:
            log.warning("A batch of feedback comes again only when its lock ends: %s", error)
        self._retell()

    async def next_due_ms(self) -> int | None:
        """Unix time at which `tell` has to be called; None when nobody waits."""
        if self._told or not self._readers:
            return None

        def work() -> int | None:
            with self._database.engine.connect() as connection:
                return store.next_batch_ms(connection, self._now_ms(), self._limits)

        return await self._database.run(work)

    async def sweep(self) -> None:
        """Drops what is over, and tells readers of a batch that is due."""

        def work() -> tuple[int, bool]:
            now_ms = self._now_ms()
            with self._database.engine.begin() as connection:
                dropped = store.drop_feedback(connection, now_ms, self._limits)
                return dropped, store.is_due(connection, now_ms, self._limits)

        dropped, due = await self._database.run(work)
        self._count(dropped, "not fetched")
        if due and self._readers and not self._told:
            # Once: whoever has no room for it now takes it as soon as there is.
            self._told = True
            for wake in list(self._readers):
                wake()

    def _count(self, dropped: int, why: str) -> None:
        self.dropped += dropped
        if dropped:
            log.warning("%d records of feedback dropped: %s", dropped, why)
