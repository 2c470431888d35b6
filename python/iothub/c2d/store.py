"""Queues of devices in the registry database. Synchronous; one transaction is the caller's `Connection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from iothub.c2d.model import Ack, C2dMessage
from iothub.c2d.queue import DeviceQueue, Entry, Lock
from iothub.registry.schema import c2d_feedback, c2d_messages, devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iothub.c2d.model import C2dLimits

_messages = c2d_messages.c
_ENTRY: tuple[ColumnElement[Any], ...] = (
    _messages.sequence,
    _messages.expires_ms,
    _messages.ack,
    _messages.message_id,
    _messages.delivery_count,
    _messages.lock_token,
    _messages.locked_until_ms,
)


def load_queue(connection: Connection, device_id: str, limits: C2dLimits) -> DeviceQueue:
    """A device's queue, without the messages themselves."""
    rows = connection.execute(
        select(*_ENTRY).where(_messages.device_id == device_id).order_by(_messages.sequence)
    )
    return DeviceQueue([_entry(row) for row in rows.all()], limits)


def _entry(row: Row[Any]) -> Entry:
    lock = None if row.lock_token is None else Lock(row.lock_token, row.locked_until_ms)
    return Entry(row.sequence, row.expires_ms, Ack(row.ack), row.message_id, row.delivery_count, lock)


def insert_message(
    connection: Connection, device_id: str, message: C2dMessage, enqueued_ms: int, expires_ms: int
) -> None:
    """Adds a message at the end."""
    connection.execute(
        insert(c2d_messages).values(
            device_id=device_id,
            message_id=message.message_id,
            ack=message.ack.value,
            enqueued_ms=enqueued_ms,
            expires_ms=expires_ms,
            delivery_count=0,
            content=msgspec.msgpack.encode(message),
        )
    )


def load_message(connection: Connection, sequence: int) -> tuple[C2dMessage, int]:
    """A message and when it came (Unix time in milliseconds)."""
    row = connection.execute(
        select(_messages.content, _messages.enqueued_ms).where(_messages.sequence == sequence)
    ).one()
    return msgspec.msgpack.decode(row.content, type=C2dMessage), row.enqueued_ms


def save_queue(connection: Connection, device_id: str, queue: DeviceQueue, now_ms: int) -> None:
    """Writes what an operation did, and the feedback on what ended."""
    for entry in queue.changed.values():
        lock = entry.lock
        connection.execute(
            update(c2d_messages)
            .where(_messages.sequence == entry.sequence)
            .values(
                delivery_count=entry.delivery_count,
                lock_token=lock.token if lock else None,
                locked_until_ms=lock.until_ms if lock else None,
            )
        )
    ended = [entry.sequence for entry, _ in queue.ended]
    if ended:
        connection.execute(delete(c2d_messages).where(_messages.sequence.in_(ended)))
    _insert_feedback(connection, device_id, queue, now_ms)


def _insert_feedback(connection: Connection, device_id: str, queue: DeviceQueue, now_ms: int) -> None:
    told = [(entry, status) for entry, status in queue.ended if entry.ack.wants(status)]
    if not told:
        return
    generation = connection.scalar(select(devices.c.generation_id).where(devices.c.device_id == device_id))
    connection.execute(
        insert(c2d_feedback),
        [
            {
                "device_id": device_id,
                "generation_id": generation or "",
                "message_id": entry.message_id or "",
                "status": status.value,
                "ended_ms": now_ms,
                "deliveries": 0,
            }
            for entry, status in told
        ],
    )


def count_messages(connection: Connection, device_ids: Sequence[str]) -> dict[str, int]:
    """Messages that are not settled, of those devices that have some."""
    rows = connection.execute(
        select(_messages.device_id, func.count())
        .where(_messages.device_id.in_(device_ids))
        .group_by(_messages.device_id)
    )
    return {row[0]: row[1] for row in rows}


def next_due_ms(connection: Connection) -> int | None:
    """Unix time at which the next lock or life ends, None without any."""
    times = (
        connection.scalar(select(func.min(_messages.locked_until_ms))),
        connection.scalar(select(func.min(_messages.expires_ms)).where(_messages.locked_until_ms.is_(None))),
    )
    return min((time for time in times if time is not None), default=None)


def due_devices(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Devices with a lock or a life that is over, at most `limit`."""
    over = or_(
        _messages.locked_until_ms <= now_ms,
        (_messages.expires_ms <= now_ms) & _messages.locked_until_ms.is_(None),
    )
    rows = connection.execute(select(_messages.device_id).where(over).distinct().limit(limit))
    return [row.device_id for row in rows]


def forget_locks(connection: Connection) -> None:
    """After a start nobody holds anything."""
    connection.execute(
        update(c2d_messages)
        .where(_messages.lock_token.is_not(None))
        .values(lock_token=None, locked_until_ms=None)
    )


def delete_messages(connection: Connection, device_id: str) -> None:
    """Removes all of a device that is deleted, pending feedback too."""
    connection.execute(delete(c2d_messages).where(_messages.device_id == device_id))
    connection.execute(delete(c2d_feedback).where(c2d_feedback.c.device_id == device_id))
