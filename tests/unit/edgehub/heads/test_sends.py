"""Publishes to clients whose end somebody waits for."""

from __future__ import annotations

import asyncio

from testkit.fake_core import SendDoneEvent
from testkit.head_bench import HeadBench


async def test_every_send_ends_with_its_own_outcome() -> None:
    bench = HeadBench()
    first = bench.head.sends.send(1, "a", b"x", 1, created_ms=5)
    second = bench.head.sends.send(2, "b", b"y", 0)
    one, two = bench.core.take_calls("send")
    assert (one.conn, one.topic, one.payload, one.qos, one.created_ms) == (1, "a", b"x", 1, 5)
    assert (two.created_ms, two.token != one.token) == (None, True)
    bench.feed(SendDoneEvent(2, two.token, "sent"), SendDoneEvent(1, one.token, "closed"))
    assert (await first, await second, len(bench.head.sends)) == ("closed", "sent", 0)


async def test_a_wait_that_was_given_up_takes_nothing_along() -> None:
    bench = HeadBench()
    done = bench.head.sends.send(1, "a", b"x", 1)
    (call,) = bench.core.take_calls("send")
    done.cancel()
    bench.feed(SendDoneEvent(1, call.token), SendDoneEvent(1, call.token), SendDoneEvent(9, 999))
    await asyncio.sleep(0)
    assert (done.cancelled(), len(bench.head.sends)) == (True, 0)
