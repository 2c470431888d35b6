"""Common to all heads: events in order per connection, and the pump that fetches them from the core.

A step that can be done at once is done at once, without a task. A step that has to wait (an unknown
client, a write to disk) runs as a task of its connection; later events of the same connection queue up
behind it, other connections are not held back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from edgehub._core import Event
    from edgehub.hub.ports import EventCore

STEPS_WAITING_MAX = 128
"""Events of one connection that may wait behind a slow one; one more ends the connection. The core's own
window for unanswered publishes is smaller."""
EVENTS_PER_SLICE = 256
"""Events handled before other work of the loop gets its turn."""
ANSWERS_TOGETHER = 32
"""Events whose answers reach the core together: fewer wake-ups of its threads, and some 2 ms at most until a
client has its answer."""
DRAIN_SLICES_MAX = 1000

Step: TypeAlias = Coroutine[Any, Any, None] | None
"""What is left to wait for after an event was handled; None when nothing is."""
StepMaker: TypeAlias = Callable[[], Step]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    step: Step
    waiting: deque[StepMaker] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Lanes:
    """Runs steps one after another per connection.

    :param on_failure: called with the connection and a reason when a step raised or too many are waiting.
    """

    def __init__(self, on_failure: Callable[[int, str], None]) -> None:
        self._on_failure = on_failure
        self._lanes: dict[int, _Lane] = {}

    @property
    def busy(self) -> int:
        """Connections with a step in progress."""
        return len(self._lanes)

    def submit(self, conn: int, make_step: StepMaker, *, last: bool = False) -> None:
        """Runs a step now, or after those of the same connection that came before.

        :param last: the end of the connection, which is never refused for want of room.
        """
        lane = self._lanes.get(conn)
        if lane is None:
            step = self._run_now(conn, make_step)
            if step is not None:
                self._start(conn, step)
        elif last or len(lane.waiting) < STEPS_WAITING_MAX:
            lane.waiting.append(make_step)
        else:
            self._on_failure(conn, f"more than {STEPS_WAITING_MAX} requests waiting")

    def abandon(self, conn: int) -> None:
        """Cancels the step in progress and drops those behind it: the client is gone."""
        lane = self._lanes.pop(conn, None)
        if lane is None or lane.task is None:
            return
        lane.waiting.clear()
        lane.task.cancel()
        # A task that never ran does not run its coroutine either.
        if lane.step is not None and inspect.getcoroutinestate(lane.step) == inspect.CORO_CREATED:
            lane.step.close()

    async def drain(self) -> None:
        """Waits until no step is left."""
        while self._lanes:
            tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, conn: int, step: Coroutine[Any, Any, None]) -> None:
        lane = self._lanes[conn] = _Lane(step)
        lane.task = asyncio.create_task(self._run(conn, lane))

    def _run_now(self, conn: int, make_step: StepMaker) -> Step:
        try:
            return make_step()
        except Exception:
            log.exception("Connection %d: a request failed", conn)
            self._on_failure(conn, "internal error")
            return None

    async def _run(self, conn: int, lane: _Lane) -> None:
        while True:
            if lane.step is not None:
                await self._finish(conn, lane.step)
            if not lane.waiting:
                break
            lane.step = self._run_now(conn, lane.waiting.popleft())
        if self._lanes.get(conn) is lane:
            del self._lanes[conn]

    async def _finish(self, conn: int, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception:
            log.exception("Connection %d: a request failed", conn)
            self._on_failure(conn, "internal error")


class EventPump:
    """Fetches events from the core when its descriptor becomes readable, in bounded slices.

    :param handle: takes every event; must not raise.
    """

    def __init__(self, core: EventCore, handle: Callable[[Event], None]) -> None:
        self._core = core
        self._handle = handle
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts listening on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._core.event_fd(), self.pump)

    def stop(self) -> None:
        """Stops listening. Events that wait stay in the core."""
        if self._loop is not None:
            self._loop.remove_reader(self._core.event_fd())
            self._loop = None

    def pump(self) -> int:
        """Handles one slice and returns its size. The descriptor stays readable while more is waiting, so
        the loop comes back after it served everything else."""
        events = self._core.next_events(EVENTS_PER_SLICE)
        for start in range(0, len(events), ANSWERS_TOGETHER):
            self._core.hold()
            try:
                for event in events[start : start + ANSWERS_TOGETHER]:
                    self._handle_one(event)
            finally:
                self._core.flush()
        return len(events)

    def _handle_one(self, event: Event) -> None:
        try:
            self._handle(event)
        except Exception:
            log.exception("An event of the core could not be handled: %s", type(event).__name__)

    def drain(self) -> None:
        """Handles what is waiting now, in the last moments of the hub."""
        for _ in range(DRAIN_SLICES_MAX):
            if not self.pump():
                return
