"""Requests that wait for their answer: a bounded table by request id."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from edgeagent.link.errors import LinkBusyError

REQUESTS_MAX: Final = 32
"""The agent has a twin read and a patch under way at most; more means that the hub answers nothing."""

T = TypeVar("T")


class PendingRequests(Generic[T]):
    """Whoever waits, by request id. Ids are never used twice, so that a late answer meets nobody."""

    def __init__(self, limit: int = REQUESTS_MAX) -> None:
        self._limit = limit
        self._waiting: dict[str, T] = {}
        self._last_rid = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiter: T) -> str:
        """Takes a place in the table; the request id.

        :raises LinkBusyError: the table is full.
        """
        if len(self._waiting) >= self._limit:
            raise LinkBusyError(f"{self._limit} requests wait for the hub already")
        self._last_rid += 1
        rid = str(self._last_rid)
        self._waiting[rid] = waiter
        return rid

    def take(self, rid: str) -> T | None:
        """Gives the place up; None for a late or foreign answer."""
        return self._waiting.pop(rid, None)

    def drain(self) -> list[T]:
        """Gives all places up."""
        waiters = list(self._waiting.values())
        self._waiting.clear()
        return waiters
