"""Direct methods on their way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edgeagent.link.errors import LinkDownError
from edgeagent.link.method_calls import (
    ANSWER_BYTES_MAX,
    METHODS_MAX,
    MethodAnswer,
    MethodCalls,
    MethodHandler,
    encode_answer,
)
from edgeagent.link.topics import MethodCall

PING = MethodCall("ping", "1", b"null")


class Published:
    """Keeps what is published."""

    def __init__(self, *, down: bool = False) -> None:
        self.answers: list[tuple[str, Any]] = []
        self._down = down

    def publish(self, topic: str, payload: bytes) -> None:
        if self._down:
            raise LinkDownError("down")
        self.answers.append((topic, json.loads(payload)))


async def served(handler: MethodHandler, wait_s: float = 5.0) -> list[tuple[str, Any]]:
    calls, published = MethodCalls(handler, wait_s), Published()
    calls.call(PING, published)
    while calls.running:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    return published.answers


async def test_an_answer() -> None:
    async def handler(call: MethodCall) -> MethodAnswer:
        assert call is PING
        return MethodAnswer(200)

    assert await served(handler) == [("$iothub/methods/res/200/?$rid=1", None)]


async def test_a_failure_is_500_with_its_text() -> None:
    async def handler(_: MethodCall) -> MethodAnswer:
        raise RuntimeError("broken")

    assert await served(handler) == [("$iothub/methods/res/500/?$rid=1", {"message": "broken"})]


async def test_a_method_that_takes_too_long_is_ended() -> None:
    ended = []

    async def handler(_: MethodCall) -> MethodAnswer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError

    ((topic, body),) = await served(handler, wait_s=0.0)
    assert "/500/" in topic
    assert "ping did not end" in body["message"]
    assert ended


async def test_the_limit_and_one_beyond() -> None:
    async def handler(_: MethodCall) -> MethodAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    calls, published = MethodCalls(handler, 5.0), Published()
    for _ in range(METHODS_MAX):
        calls.call(PING, published)
    assert not published.answers
    calls.call(PING, published)
    assert published.answers[0][0] == "$iothub/methods/res/429/?$rid=1"
    await calls.cancel()
    assert calls.running == 0


@pytest.mark.parametrize("publisher", [None, Published(down=True)])
async def test_nobody_hears_the_answer(publisher: Published | None) -> None:
    async def handler(_: MethodCall) -> MethodAnswer:
        return MethodAnswer(200)

    calls = MethodCalls(handler, 5.0)
    calls.call(PING, publisher)
    while calls.running:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


def test_what_cannot_be_sent() -> None:
    largest = "x" * (ANSWER_BYTES_MAX - 2)
    assert encode_answer(MethodAnswer(200, largest))[0] == 200
    status, body = encode_answer(MethodAnswer(200, largest + "x"))
    assert status == 400
    assert f"{ANSWER_BYTES_MAX + 1} bytes" in json.loads(body)["message"]
    assert encode_answer(MethodAnswer(200, object()))[0] == 500
