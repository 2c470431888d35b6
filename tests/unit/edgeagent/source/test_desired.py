"""The box between a source and the consumer."""

from __future__ import annotations

import asyncio

from edgeagent.source.desired import Desired, DesiredBox


def test_the_newest_counts_and_equal_ones_ring_no_bell() -> None:
    box = DesiredBox()
    assert box.latest() is None
    box.put(Desired(1, {"a": 1}))
    assert box.changed.is_set()
    box.changed.clear()
    box.put(Desired(1, {"a": 1}))
    assert not box.changed.is_set()
    box.put(Desired(1, {"a": True}))
    assert box.changed.is_set()
    assert box.latest() == Desired(1, {"a": True})


def test_a_fault_keeps_the_last_one() -> None:
    shared = asyncio.Event()
    box = DesiredBox(shared.set)
    box.put(Desired(1, {}))
    shared.clear()
    box.fail(ValueError("broken"))
    assert shared.is_set()
    assert box.latest() == Desired(1, {})
    assert str(box.fault) == "broken"
    shared.clear()
    box.fail(ValueError("broken"))
    assert not shared.is_set()
    box.put(Desired(1, {}))
    assert shared.is_set()
    assert box.fault is None


async def test_o08_the_first_wait_is_short() -> None:
    """Row O08."""
    box = DesiredBox()
    assert await box.first(wait_s=0.0) is None
    waiting = asyncio.create_task(box.first())
    await asyncio.sleep(0)
    box.put(Desired(3, {}))
    assert await waiting == Desired(3, {})
    box = DesiredBox()
    box.fail(ValueError("offline"))
    assert await box.first() is None
