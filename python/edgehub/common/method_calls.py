"""Method calls on their way to clients: who listens, who waits for an answer, and how a wait ends.

Several calls may be on their way to one client; answers find their call by its id, in any order. A wait ends
when the client leaves, is taken over, or no longer listens (heads spec 6, iothub spec 4).
"""

from __future__ import annotations

import asyncio
import enum
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Callable

Target = TypeVar("Target")

CALLS_MAX: Final = 1000
"""Calls on their way or waiting for their target, to all clients together."""
CALLS_OF_TARGET_MAX: Final = 100
"""The same of one client."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MethodCall:
    """What to call, and how long to wait.

    :param payload: JSON, passed on as it is.
    :param connect_timeout_s: how long a target may take to connect and subscribe; 0: it has to be there.
    """

    name: str
    payload: bytes
    response_timeout_s: float
    connect_timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MethodAnswer:
    """What the target answered.

    :param payload: as sent; not checked.
    """

    status: int
    payload: bytes


class Failure(enum.Enum):
    """Why there is no answer."""

    ABSENT = enum.auto()
    """Not connected, or not listening."""
    NO_ANSWER = enum.auto()
    """Not within the time allowed."""
    LEFT = enum.auto()
    """The target was called, and is gone."""
    TOO_MANY = enum.auto()
    """As many calls wait as may."""


class MethodError(EdgehubError):
    """A call without answer.

    :ivar request_id: of the call; empty if it was never sent.
    """

    def __init__(self, failure: Failure, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.failure = failure
        self.request_id = request_id


class _Sent:
    """One call on its way."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.answer: asyncio.Future[MethodAnswer] = asyncio.get_running_loop().create_future()

    def fail(self, failure: Failure) -> None:
        if not self.answer.done():
            self.answer.set_exception(self.error(failure))

    def error(self, failure: Failure) -> MethodError:
        text = f"Timed out waiting for device to respond to method request {self.request_id}"
        return MethodError(failure, text, self.request_id)


class MethodCalls(Generic[Target]):
    """Calls to all clients. Use from one event loop.

    :param send: hands a request (target, id, call) to the connection of a client; None: it is not connected.
        The future tells what became of it: `acked` and `sent` are good, `no_subscription` and `too_old` mean
        that it does not listen, anything else that it was not reached.
    """

    def __init__(self, send: Callable[[Target, str, MethodCall], asyncio.Future[str] | None]) -> None:
        self._send = send
        self._listening: set[Target] = set()
        self._arrivals: dict[Target, asyncio.Event] = {}
        self._sent: dict[Target, dict[str, _Sent]] = {}
        self._waiting: dict[Target, int] = {}
        self._count = 0

    @property
    def count(self) -> int:
        """Calls that have not ended."""
        return self._count

    async def call(self, target: Target, call: MethodCall) -> MethodAnswer:
        """Calls a method and waits for the answer.

        :raises MethodError: there is none.
        """
        self._begin(target)
        try:
            await self._wait_for(target, call.connect_timeout_s)
            return await self._exchange(target, call)
        finally:
            self._end(target)

    def answered(self, target: Target, request_id: str, answer: MethodAnswer) -> bool:
        """A client answered; False if no call waits for it (T-003)."""
        found = self._sent.get(target, {}).get(request_id.lower())
        if found is None or found.answer.done():
            return False
        found.answer.set_result(answer)
        return True

    def listens(self, target: Target) -> None:
        """A client takes calls from now on; those that wait for it go at once (DEV-17)."""
        self._listening.add(target)
        arrival = self._arrivals.get(target)
        if arrival is not None:
            arrival.set()

    def ignores(self, target: Target) -> None:
        """A client takes no calls any more; it may still answer those it has."""
        self._listening.discard(target)

    def gone(self, target: Target) -> None:
        """The connection of a client is gone, maybe because of a newer one (DEV-26)."""
        self._listening.discard(target)
        for sent in self._sent.get(target, {}).values():
            sent.fail(Failure.LEFT)

    # One call

    def _begin(self, target: Target) -> None:
        of_target = self._waiting.get(target, 0)
        if self._count >= CALLS_MAX or of_target >= CALLS_OF_TARGET_MAX:
            raise MethodError(Failure.TOO_MANY, f"Too many method calls wait for {target}, or in all")
        self._count += 1
        self._waiting[target] = of_target + 1

    def _end(self, target: Target) -> None:
        self._count -= 1
        self._waiting[target] -= 1
        if not self._waiting[target]:
            del self._waiting[target]
            self._arrivals.pop(target, None)

    async def _wait_for(self, target: Target, timeout_s: float) -> None:
        if target in self._listening:
            return
        try:
            async with asyncio.timeout(timeout_s):
                while target not in self._listening:
                    if timeout_s <= 0:
                        raise TimeoutError
                    arrival = self._arrivals.setdefault(target, asyncio.Event())
                    arrival.clear()
                    await arrival.wait()
        except TimeoutError:
            raise _absent(target) from None

    async def _exchange(self, target: Target, call: MethodCall) -> MethodAnswer:
        sent = _Sent(str(uuid.uuid4()))
        self._sent.setdefault(target, {})[sent.request_id] = sent
        try:
            handed_over = self._send(target, sent.request_id, call)
            if handed_over is None:
                raise _absent(target)
            handed_over.add_done_callback(lambda done: self._judge(done, target, sent))
            async with asyncio.timeout(call.response_timeout_s):
                return await sent.answer
        except TimeoutError:
            raise sent.error(Failure.NO_ANSWER) from None
        finally:
            del self._sent[target][sent.request_id]
            if not self._sent[target]:
                del self._sent[target]

    @staticmethod
    def _judge(handed_over: asyncio.Future[str], target: Target, sent: _Sent) -> None:
        """Whether the request is with the client."""
        outcome = "closed" if handed_over.cancelled() else handed_over.result()
        if outcome in ("acked", "sent") or sent.answer.done():
            return
        if outcome in ("no_subscription", "too_old"):
            sent.answer.set_exception(_absent(target))
            return
        log.info("Method request %s did not reach %s: %s", sent.request_id, target, outcome)
        sent.fail(Failure.LEFT)


def _absent(target: object) -> MethodError:
    return MethodError(Failure.ABSENT, f"Client {target} not found")
