"""Work that goes on after its method was answered (agent spec 5.5, 5.7, rows D15 to D17)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeagent.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Coroutine

TASKS_AT_WORK_MAX = 5
TASKS_KEPT_MAX = 100
"""Ended tasks whose state is told; the oldest is forgotten first."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Task:
    work: asyncio.Task[None]
    operation: str


class Tasks:
    """Tasks by correlation id, in memory alone: another agent process knows nothing of them."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def begin(self, operation: str, work: Coroutine[Any, Any, None]) -> dict[str, str]:
        """Sets to work, and answers as the method does.

        :param operation: for error texts, such as `upload logs`.
        :raises MethodError: too many are at work.
        """
        at_work = sum(not task.work.done() for task in self._tasks.values())
        if at_work >= TASKS_AT_WORK_MAX:
            work.close()
            raise MethodError(f"{at_work} tasks are at work already; try again later")
        self._make_room()
        correlation_id = str(uuid.uuid4())
        self._tasks[correlation_id] = _Task(asyncio.get_running_loop().create_task(work), operation)
        self._tasks[correlation_id].work.add_done_callback(_note_failure)
        return self.status(correlation_id)

    def _make_room(self) -> None:
        ended = [key for key, task in self._tasks.items() if task.work.done()]
        for key in ended[: max(len(self._tasks) - TASKS_KEPT_MAX + 1, 0)]:
            del self._tasks[key]

    def status(self, correlation_id: str) -> dict[str, str]:
        """`status`, `message` and `correlationId`."""
        task = self._tasks.get(correlation_id)
        status, message = ("Unknown", "") if task is None else _state(task)
        return {"status": status, "message": message, "correlationId": correlation_id}

    async def stop(self) -> None:
        """Ends what is at work."""
        at_work = [task.work for task in self._tasks.values() if not task.work.done()]
        for work in at_work:
            work.cancel()
        if at_work:
            await asyncio.wait(at_work)


def _state(task: _Task) -> tuple[str, str]:
    if not task.work.done():
        return "Running", ""
    if task.work.cancelled():
        return "Cancelled", ""
    fault = task.work.exception()
    if fault is None:
        return "Completed", ""
    return "Failed", f"Task {task.operation} failed because of error {fault}"


def _note_failure(work: asyncio.Task[None]) -> None:
    if not work.cancelled() and (fault := work.exception()) is not None:
        _log.warning("a task failed: %s", fault)
