"""Cloud-to-device messages for the event loop: send, hand out, settle, and what time ends."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import select

from iothub.c2d import feedback_store, store
from iothub.c2d.feedback import Feedback
from iothub.c2d.model import MS, Delivery, check_message, expiry_of
from iothub.errors import HubError, device_not_found
from iothub.registry.schema import devices

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from iothub.c2d.model import C2dLimits, C2dMessage
    from iothub.c2d.queue import DeviceQueue
    from iothub.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[["Connection", "DeviceQueue", int], T]

SWEEP_DEVICES_MAX: Final = 100
"""Devices that one sweep looks after; the next follows at once."""
SLEEP_SECS_MAX: Final = 60.0
"""The wall clock may be set, and feedback grow: a sweep comes at least this often."""
RETRY_SECS: Final = 5.0
"""Wait after the database failed."""


class CloudToDevice:
    """All queues. Use from one event loop; the database has everything, so a restart loses nothing.

    :ivar feedback: on messages whose senders asked for it.
    """

    def __init__(self, database: Database, limits: C2dLimits, clock: Callable[[], float]) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._consumers: dict[str, Callable[[], None]] = {}
        self._due_changed = asyncio.Event()
        self._releases: set[asyncio.Task[None]] = set()
        self._swept_at = time.monotonic()
        self.feedback = Feedback(database, limits, clock, self._due_changed.set)

    def _now_ms(self) -> int:
        return int(self._clock() * MS)

    async def _transact(self, device_id: str, work: Work[T]) -> T:
        """One operation on a device's queue, in a transaction."""

        def run() -> T:
            now_ms = self._now_ms()
            with self._database.engine.begin() as connection:
                queue = store.load_queue(connection, device_id, self._limits)
                queue.advance(now_ms)
                result = work(connection, queue, now_ms)
                store.save_queue(connection, device_id, queue, now_ms)
                return result

        result = await self._database.run(run)
        self._due_changed.set()
        return result

    def _wake(self, device_id: str) -> None:
        wake = self._consumers.get(device_id)
        if wake is not None:
            wake()

    # ---- the service

    async def send(self, device_id: str, message: C2dMessage) -> None:
        """Takes a message for a device; it is stored when this returns.

        :raises HubError: 404001, 400004, 403004, 403009, 413001.
        """
        check_message(message, self._limits)

        def work(connection: Connection, queue: DeviceQueue, now_ms: int) -> None:
            _require_device(connection, device_id)
            expires_ms = expiry_of(message, now_ms, self._limits)
            queue.check_room()
            store.insert_message(connection, device_id, message, now_ms, expires_ms)

        await self._transact(device_id, work)
        self._wake(device_id)

    async def purge(self, device_id: str) -> int:
        """Ends all messages of a device; how many there were.

        :raises HubError: 404001.
        """

        def work(connection: Connection, queue: DeviceQueue, _now_ms: int) -> int:
            _require_device(connection, device_id)
            return queue.purge()

        return await self._transact(device_id, work)

    async def counts(self, device_ids: list[str]) -> dict[str, int]:
        """Messages that are not settled, of those devices that have some."""

        def work() -> dict[str, int]:
            with self._database.engine.connect() as connection:
                return store.count_messages(connection, device_ids)

        return await self._database.run(work)

    # ---- the device

    def attach(self, device_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """A device listens until the returned function is called, or a newer one is attached.

        :param wake: called on the event loop when there may be something to take.
        """
        self._consumers[device_id] = wake

        def detach() -> None:
            if self._consumers.get(device_id) is wake:
                del self._consumers[device_id]

        return detach

    async def take(self, device_id: str, lock_secs: float | None = None) -> Delivery | None:
        """Locks the next message of a device, if there is one.

        :param lock_secs: None for the usual time.
        """
        token = uuid.uuid4()

        def work(connection: Connection, queue: DeviceQueue, now_ms: int) -> Delivery | None:
            entry = queue.take(now_ms, str(token), lock_secs)
            if entry is None:
                return None
            message, enqueued_ms = store.load_message(connection, entry.sequence)
            return Delivery(device_id, token, entry.sequence, enqueued_ms, entry.delivery_count, message)

        return await self._transact(device_id, work)

    async def complete(self, device_id: str, token: UUID) -> None:
        """The device has a message.

        :raises HubError: 412002.
        """
        await self._transact(device_id, lambda _connection, queue, _now_ms: queue.complete(str(token)))

    async def reject(self, device_id: str, token: UUID) -> None:
        """The device refuses a message.

        :raises HubError: 412002.
        """
        await self._transact(device_id, lambda _connection, queue, _now_ms: queue.reject(str(token)))

    async def abandon(self, device_id: str, token: UUID) -> None:
        """The device wants a message again.

        :raises HubError: 412002.
        """
        await self._transact(device_id, lambda _connection, queue, _now_ms: queue.abandon(str(token)))
        self._wake(device_id)

    def release(self, device_id: str, tokens: list[UUID]) -> None:
        """Whoever held these messages has gone without a word: they are handed out again."""
        if tokens:
            task = asyncio.get_running_loop().create_task(self._release(device_id, tokens))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def _release(self, device_id: str, tokens: list[UUID]) -> None:
        texts = [str(token) for token in tokens]
        try:
            await self._transact(device_id, lambda _connection, queue, _now_ms: queue.release(texts))
        except HubError as error:
            log.warning("Messages of %s come again only when their locks end: %s", device_id, error)
        self._wake(device_id)

    # ---- time

    async def start(self) -> None:
        """Nobody holds anything after a start."""

        def work() -> None:
            with self._database.engine.begin() as connection:
                store.forget_locks(connection)
                feedback_store.release_batch(connection)

        await self._database.run(work)

    async def run(self) -> None:
        """Ends locks and lives in time, until it is cancelled."""
        while True:
            try:
                if await self._wait_until_due():
                    await self.sweep()
            except HubError as error:
                log.warning("cloud-to-device messages cannot be looked after: %s", error)
                await asyncio.sleep(RETRY_SECS)
            except Exception:
                log.exception("cloud-to-device messages cannot be looked after")
                await asyncio.sleep(RETRY_SECS)

    async def stop(self) -> None:
        """Finishes what is under way."""
        await asyncio.gather(*self._releases, return_exceptions=True)

    async def _wait_until_due(self) -> bool:
        """False if the time to wait for may be another meanwhile."""
        self._due_changed.clear()
        due_ms = await self.next_due_ms()
        sleep_secs = self._swept_at + SLEEP_SECS_MAX - time.monotonic()
        if due_ms is not None:
            sleep_secs = min(sleep_secs, max(0.0, due_ms / MS - self._clock()))
        if sleep_secs <= 0:
            # However much else goes on: neither what is due nor what is too much waits for a quiet moment.
            return True
        try:
            async with asyncio.timeout(sleep_secs):
                await self._due_changed.wait()
        except TimeoutError:
            return True
        return False

    async def next_due_ms(self) -> int | None:
        """Unix time at which `sweep` has to be called, None without any."""

        def work() -> int | None:
            with self._database.engine.connect() as connection:
                return store.next_due_ms(connection)

        times = (await self._database.run(work), await self.feedback.next_due_ms())
        return min((time for time in times if time is not None), default=None)

    async def sweep(self) -> None:
        """Ends locks and lives that are over, and wakes whoever it concerns."""

        def work() -> list[str]:
            with self._database.engine.connect() as connection:
                return store.due_devices(connection, self._now_ms(), SWEEP_DEVICES_MAX)

        self._swept_at = time.monotonic()
        for device_id in await self._database.run(work):
            await self._transact(device_id, lambda _connection, _queue, _now_ms: None)
            self._wake(device_id)
        await self.feedback.sweep()


def _require_device(connection: Connection, device_id: str) -> None:
    if connection.scalar(select(devices.c.device_id).where(devices.c.device_id == device_id)) is None:
        raise device_not_found(device_id)
