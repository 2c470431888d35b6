"""The source that follows the twin."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from edgeagent.link.errors import LinkDownError
from edgeagent.link.topics import DesiredPatch
from edgeagent.link.twin import Twin
from edgeagent.source.desired import Desired, DesiredBox
from edgeagent.source.twin_source import TwinSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Reader:
    """Gives what it has been told to give."""

    def __init__(self, *answers: Twin | Exception) -> None:
        self.answers = list(answers)

    async def get_twin(self) -> Twin:
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.asynccontextmanager
async def running(reader: Reader, box: DesiredBox, reported: list[Any]) -> AsyncIterator[TwinSource]:
    source = TwinSource(reader, box, reported.append)
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_reads_and_follows() -> None:
    reader, box = Reader(Twin(4, {"a": 1}, {"r": 1}), Twin(9, {"c": 1}, {})), DesiredBox()
    reported: list[Any] = []
    async with running(reader, box, reported) as source:
        source.link_up()
        assert await box.first() == Desired(4, {"a": 1})
        assert reported == [{"r": 1}]
        source.desired_patch(DesiredPatch(5, {"b": 2}))
        assert box.latest() == Desired(5, {"a": 1, "b": 2})
        box.changed.clear()
        source.desired_patch(DesiredPatch(8, {"b": 3}))
        await box.changed.wait()
        assert box.latest() == Desired(9, {"c": 1})
        assert (source.reads, source.reads_failed) == (2, 0)


async def test_a_read_that_fails_is_no_end() -> None:
    reader, box = Reader(LinkDownError("gone"), Twin(4, {}, {})), DesiredBox()
    async with running(reader, box, []) as source:
        source.link_up()
        assert await box.first() is None
        assert isinstance(box.fault, LinkDownError)
        source.link_down("gone")
        source.link_refused("no")
        box.changed.clear()
        source.link_up()
        await box.changed.wait()
        assert box.latest() == Desired(4, {})
        assert (source.reads, source.reads_failed) == (2, 1)
