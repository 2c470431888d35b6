"""Direct methods that are being served: a bounded number at once, each with a deadline (agent spec 5.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from edgeagent.link.errors import LinkDownError
from edgeagent.link.topics import MethodCall, method_answer_topic

METHODS_MAX: Final = 10
"""Served at once; beyond, a call is answered with 429."""
ANSWER_BYTES_MAX: Final = 128 * 1024
"""Largest answer that the hub passes on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MethodAnswer:
    """Answer to a direct method.

    :ivar payload: what JSON can hold.
    """

    status: int
    payload: Any = None


MethodHandler: TypeAlias = Callable[[MethodCall], Awaitable[MethodAnswer]]


class Publisher(Protocol):
    """Sends a publish, or raises `LinkDownError`."""

    def publish(self, topic: str, payload: bytes) -> None: ...


def encode_answer(answer: MethodAnswer) -> tuple[int, bytes]:
    """Status and body; an answer that is too large or no JSON becomes an error."""
    try:
        body = msgspec.json.encode(answer.payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
        log.error("The answer to a method is no JSON: %s", fault)
        return 500, msgspec.json.encode({"message": "The answer cannot be written as JSON"})
    if len(body) <= ANSWER_BYTES_MAX:
        return answer.status, body
    text = f"The answer has {len(body)} bytes; at most {ANSWER_BYTES_MAX} can be sent"
    return 400, msgspec.json.encode({"message": text})


class MethodCalls:
    """Hands calls to the handler and its answers to the connection that they came by.

    :param wait_s: for one call; then it is cancelled and answered with 500.
    """

    def __init__(self, handler: MethodHandler, wait_s: float) -> None:
        self._handler = handler
        self._wait_s = wait_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        return len(self._tasks)

    def call(self, call: MethodCall, publisher: Publisher | None) -> None:
        """Serves a call, beside others."""
        if len(self._tasks) >= METHODS_MAX:
            self._send(call, MethodAnswer(429, {"message": "Too many methods are served already"}), publisher)
            return
        task = asyncio.create_task(self._serve(call, publisher), name=f"method {call.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: MethodCall, publisher: Publisher | None) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                answer = await self._handler(call)
        except TimeoutError:
            answer = MethodAnswer(500, {"message": f"{call.name} did not end within {self._wait_s:.0f} s"})
        except Exception as fault:
            log.exception("The method %s failed", call.name)
            answer = MethodAnswer(500, {"message": str(fault) or type(fault).__name__})
        self._send(call, answer, publisher)

    def _send(self, call: MethodCall, answer: MethodAnswer, publisher: Publisher | None) -> None:
        status, body = encode_answer(answer)
        try:
            if publisher is None:
                raise LinkDownError("there is no connection")
            publisher.publish(method_answer_topic(status, call.rid), body)
        except LinkDownError:
            log.info("The answer to the method %s finds no connection", call.name)

    async def cancel(self) -> None:
        """Ends all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
