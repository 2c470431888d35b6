"""Logs of containers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.runtime import labels
from edgeagent.runtime.errors import EngineError, EngineUnreachable, ForeignContainerError
from edgeagent.runtime.log_frames import LogFrame, LogStream
from edgeagent.runtime.logs import LogOptions, read_logs
from testkit.fake_engine import running_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine


class Clock:
    now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fake(clock: Clock) -> AsyncIterator[FakeEngine]:
    async with running_engine(clock) as fake:
        fake.state.add_image("x:1")
        yield fake


def add(fake: FakeEngine, **members: Any) -> None:
    given = {labels.OWNER: labels.OWNER_VALUE}
    fake.state.start(fake.state.create("sensor", {"Image": "x:1", "Labels": given} | members))


async def read(engine: Engine, options: LogOptions | None = None) -> list[tuple[int, bytes]]:
    async with read_logs(engine, "sensor", options) as frames:
        return [(int(frame.stream), frame.data) async for frame in frames]


async def test_frames_of_both_streams_in_order(fake: FakeEngine, engine: Engine) -> None:
    add(fake)
    fake.state.write("sensor", b"one\n")
    fake.state.write("sensor", b"two\n", stream=2)
    assert await read(engine) == [(1, b"one\n"), (2, b"two\n")]
    assert await read(engine, LogOptions(stdout=False)) == [(2, b"two\n")]
    assert await read(engine, LogOptions(tail=1)) == [(2, b"two\n")]
    assert await read(engine, LogOptions(tail=-5)) == []


async def test_a_container_with_a_terminal(fake: FakeEngine, engine: Engine) -> None:
    add(fake, Tty=True)
    fake.state.write("sensor", b"\x01\x01\x01\x01 raw\n")
    assert await read(engine) == [(1, b"\x01\x01\x01\x01 raw\n")]


async def test_a_span_of_time_and_time_stamps(fake: FakeEngine, engine: Engine, clock: Clock) -> None:
    add(fake)
    start_ms = clock.now_ms
    for number in range(4):
        clock.now_ms = start_ms + number * 250
        fake.state.write("sensor", b"%d\n" % number)
    span = LogOptions(since_ms=start_ms + 250, until_ms=start_ms + 500, timestamps=True)
    assert await read(engine, span) == [
        (1, b"2023-11-14T22:13:20.250Z 1\n"),
        (1, b"2023-11-14T22:13:20.500Z 2\n"),
    ]
    assert fake.journal[-1].query["since"] == "1700000000.250"


async def test_a_followed_log_goes_on_until_the_container_ends(fake: FakeEngine, engine: Engine) -> None:
    add(fake)
    fake.state.write("sensor", b"before\n")
    async with read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        assert (await anext(frames)).data == b"before\n"
        fake.state.write("sensor", b"after\n", stream=2)
        assert await anext(frames) == LogFrame(LogStream.STDERR, b"after\n")
        fake.state.exit("sensor")
        assert [frame async for frame in frames] == []


async def test_the_reader_may_leave_a_log_that_goes_on(fake: FakeEngine, engine: Engine) -> None:
    add(fake)
    fake.state.write("sensor", b"x\n")
    async with read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        await anext(frames)
    assert await engine.get("/info")


async def test_an_engine_that_goes_away(fake: FakeEngine, engine: Engine) -> None:
    add(fake)
    fake.state.write("sensor", b"x\n")
    async with read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        await anext(frames)
        await fake.stop()
        with pytest.raises(EngineUnreachable):
            await anext(frames)


async def test_no_such_container_and_a_foreign_one(fake: FakeEngine, engine: Engine) -> None:
    with pytest.raises(EngineError, match="No such container"):
        await read(engine)
    fake.state.add_foreign("sensor")
    with pytest.raises(ForeignContainerError):
        await read(engine)
