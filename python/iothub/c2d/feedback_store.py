"""Feedback: what became of messages, in batches for whoever reads them (section 5.3). Synchronous.

A record waits for company until there are enough, or it is old enough. A batch that was handed out is locked
like a message; records that were handed out too often, or that nobody fetched in time, are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update

from iothub import jsonio
from iothub.c2d.model import MS
from iothub.errors import ErrorCode, HubError
from iothub.registry.schema import c2d_feedback

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Row

    from iothub.c2d.model import C2dLimits

CONTENT_TYPE: Final = "application/vnd.microsoft.iothub.feedback.json"

_records = c2d_feedback.c


@dataclass(frozen=True, slots=True)
class FeedbackBatch:
    """Records that were handed out together.

    :ivar body: JSON array of records.
    :ivar enqueued_ms: Unix time of the newest record.
    """

    lock_token: UUID
    body: bytes
    enqueued_ms: int
    delivery_count: int


def _free(now_ms: int) -> ColumnElement[bool]:
    return or_(_records.locked_until_ms.is_(None), _records.locked_until_ms <= now_ms)


def is_due(connection: Connection, now_ms: int, limits: C2dLimits) -> bool:
    """Whether there are enough records, or old enough ones."""
    count, oldest_ms = connection.execute(
        select(func.count(), func.min(_records.ended_ms)).where(_free(now_ms))
    ).one()
    if not count:
        return False
    return bool(
        count >= limits.feedback_batch_max or oldest_ms + int(limits.feedback_wait_secs * MS) <= now_ms
    )


def take_batch(connection: Connection, now_ms: int, token: UUID, limits: C2dLimits) -> FeedbackBatch | None:
    """Locks the oldest records that are free, if they are due."""
    if not is_due(connection, now_ms, limits):
        return None
    rows = connection.execute(
        select(c2d_feedback).where(_free(now_ms)).order_by(_records.sequence).limit(limits.feedback_batch_max)
    ).all()
    connection.execute(
        update(c2d_feedback)
        .where(_records.sequence.in_([row.sequence for row in rows]))
        .values(lock_token=str(token), locked_until_ms=now_ms + int(limits.lock_secs * MS))
    )
    body = jsonio.encode([_view(row) for row in rows])
    return FeedbackBatch(token, body, rows[-1].ended_ms, max(row.deliveries for row in rows))


def _view(row: Row[Any]) -> dict[str, str]:
    ended = datetime.fromtimestamp(row.ended_ms / MS, UTC).isoformat(timespec="milliseconds")
    return {
        "originalMessageId": row.message_id,
        "enqueuedTimeUtc": ended.replace("+00:00", "Z"),
        "statusCode": row.status,
        "description": row.status,
        "deviceId": row.device_id,
        "deviceGenerationId": row.generation_id,
    }


def complete_batch(connection: Connection, now_ms: int, token: UUID) -> None:
    """They were read.

    :raises HubError: 412002.
    """
    if not connection.execute(delete(c2d_feedback).where(_held(now_ms, token))).rowcount:
        raise _lock_lost()


def abandon_batch(connection: Connection, now_ms: int, token: UUID, limits: C2dLimits) -> int:
    """The reader wants them again, later; how many records were dropped, because it was so too often.

    :raises HubError: 412002.
    """
    held = _held(now_ms, token)
    unlocked = (
        update(c2d_feedback)
        .where(held)
        .values(deliveries=_records.deliveries + 1, lock_token=None, locked_until_ms=None)
    )
    if not connection.execute(unlocked).rowcount:
        raise _lock_lost()
    given_up = delete(c2d_feedback).where(_records.deliveries >= limits.deliveries_max)
    return connection.execute(given_up).rowcount


def release_batch(connection: Connection, token: UUID | None = None) -> None:
    """Whoever held the batch, or any batch at all, has gone without a word."""
    held = _records.lock_token.is_not(None) if token is None else _records.lock_token == str(token)
    connection.execute(update(c2d_feedback).where(held).values(lock_token=None, locked_until_ms=None))


def next_batch_ms(connection: Connection, now_ms: int, limits: C2dLimits) -> int | None:
    """Unix time at which there will be a batch, None without any record."""
    if is_due(connection, now_ms, limits):
        return now_ms
    oldest_ms = connection.scalar(select(func.min(_records.ended_ms)).where(_free(now_ms)))
    if oldest_ms is not None:
        return int(oldest_ms) + int(limits.feedback_wait_secs * MS)
    locked = connection.scalar(select(func.min(_records.locked_until_ms)))
    return None if locked is None else int(locked)


def drop_feedback(connection: Connection, now_ms: int, limits: C2dLimits) -> int:
    """Drops what is too old, and the oldest where there is too much; how many records."""
    born_ms = now_ms - int(limits.feedback_ttl_secs * MS)
    dropped = connection.execute(delete(c2d_feedback).where(_records.ended_ms <= born_ms)).rowcount
    over = (connection.scalar(select(func.count()).select_from(c2d_feedback)) or 0) - limits.feedback_max
    if over > 0:
        oldest = select(_records.sequence).order_by(_records.sequence).limit(over)
        dropped += connection.execute(delete(c2d_feedback).where(_records.sequence.in_(oldest))).rowcount
    return dropped


def _held(now_ms: int, token: UUID) -> ColumnElement[bool]:
    return (_records.lock_token == str(token)) & (_records.locked_until_ms > now_ms)


def _lock_lost() -> HubError:
    return HubError(ErrorCode.DeviceMessageLockLost, "The lock on the feedback is over, or never was.")
