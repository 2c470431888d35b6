"""Queues in both kinds of database: restarts, time, waking, feedback (section 5; rows 91, 115 to 117)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from iothub.c2d import service
from iothub.c2d.model import Ack, C2dLimits, C2dMessage
from iothub.c2d.service import CloudToDevice
from iothub.config import HubLimits
from iothub.errors import ErrorCode, HubError
from unit.iothub.hub_rig import NOW, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

LIMITS = C2dLimits(feedback_batch_max=3, feedback_max=5, deliveries_max=2)


@pytest.fixture
async def rig(tmp_path: Path, place: Path | str) -> AsyncIterator[Rig]:
    async with hub(tmp_path, HubLimits(c2d=LIMITS), place) as made:
        await made.device("d1")
        yield made


def message(text: str = "m", **members: Any) -> C2dMessage:
    return C2dMessage(text.encode(), message_id=text, **members)


async def code_of(work: Awaitable[Any]) -> ErrorCode:
    with pytest.raises(HubError) as caught:
        await work
    return caught.value.code


async def bodies(c2d: CloudToDevice, device_id: str = "d1") -> list[str]:
    """Takes everything there is."""
    found = []
    while (delivery := await c2d.take(device_id)) is not None:
        found.append(delivery.message.body.decode())
    return found


async def test_a_message_comes_out_as_it_went_in(rig: Rig) -> None:
    sent = C2dMessage(
        b"\x00\xff", "id", "corr", "user", "application/json", "utf-8", int(NOW * 1000) + 5000,
        Ack.FULL, {"a": "1", "b b": "\N{SNOWMAN}", "bare": None},
    )  # fmt: skip
    await rig.services.c2d.send("d1", sent)
    delivery = await rig.services.c2d.take("d1")
    assert delivery is not None
    assert delivery.message == sent
    assert (delivery.device_id, delivery.enqueued_ms) == ("d1", int(NOW * 1000))
    await rig.services.c2d.complete("d1", delivery.lock_token)
    assert await code_of(rig.services.c2d.complete("d1", delivery.lock_token)) is (
        ErrorCode.DeviceMessageLockLost
    )
    assert await rig.services.c2d.take("d1") is None


async def test_messages_that_cannot_be_taken(rig: Rig) -> None:
    send = rig.services.c2d.send
    assert await code_of(send("nobody", message())) is ErrorCode.DeviceNotFound
    assert await code_of(send("d1", C2dMessage(b"x" * 65_537))) is ErrorCode.MessageTooLarge
    assert await code_of(send("d1", message("x" * 129))) is ErrorCode.ArgumentInvalid
    for text in (
        C2dMessage(content_type="text/pl\u00e4in"),
        C2dMessage(content_encoding="\u00fctf-8"),
        C2dMessage(properties={"": "no name"}),
        C2dMessage(user_id="\udcff"),
        C2dMessage(properties={"a": "\udcff"}),
        C2dMessage(properties={"\udcff": None}),
    ):
        assert await code_of(send("d1", text)) is ErrorCode.ArgumentInvalid
    late = message(expires_ms=int(NOW * 1000))
    assert await code_of(send("d1", late)) is ErrorCode.InvalidMessageExpiryTime
    assert await code_of(rig.services.c2d.purge("nobody")) is ErrorCode.DeviceNotFound
    await send("d1", C2dMessage(b"x" * 65_536))
    assert await rig.services.c2d.counts(["d1", "d2"]) == {"d1": 1}


async def test_row_115_the_51st_is_refused(rig: Rig) -> None:
    for number in range(50):
        await rig.services.c2d.send("d1", message(str(number)))
    assert await code_of(rig.services.c2d.send("d1", message())) is (
        ErrorCode.DeviceMaximumQueueDepthExceeded
    )
    assert await bodies(rig.services.c2d) == [str(number) for number in range(50)]


async def test_a_restart_keeps_messages_and_forgets_locks(rig: Rig) -> None:
    c2d = rig.services.c2d
    await c2d.send("d1", message("one"))
    await c2d.send("d1", message("two"))
    first = await c2d.take("d1")
    assert first is not None
    second = await c2d.take("d1")
    assert second is not None
    await c2d.complete("d1", second.lock_token)
    again = CloudToDevice(rig.database, LIMITS, rig.clock)
    await again.start()
    assert await code_of(again.complete("d1", first.lock_token)) is ErrorCode.DeviceMessageLockLost
    assert await bodies(again) == ["one"]


async def test_whoever_listens_is_woken(rig: Rig) -> None:
    c2d, woken = rig.services.c2d, list[str]()
    older = c2d.attach("d1", lambda: woken.append("older"))
    newer = c2d.attach("d1", lambda: woken.append("newer"))
    older()
    await c2d.send("d1", message())
    assert woken == ["newer"]
    delivery = await c2d.take("d1")
    assert delivery is not None
    await c2d.abandon("d1", delivery.lock_token)
    assert woken == ["newer"] * 2
    assert await c2d.take("d1")
    rig.clock.now += 60
    assert await c2d.next_due_ms() == int(rig.clock.now * 1000)
    await c2d.sweep()
    assert woken == ["newer"] * 3
    newer()
    await c2d.send("d1", message("two"))
    assert woken == ["newer"] * 3


async def test_what_time_ends(rig: Rig) -> None:
    c2d = rig.services.c2d
    assert await c2d.next_due_ms() is None
    await c2d.send("d1", message("short", expires_ms=int(NOW * 1000) + 10_000))
    await c2d.send("d1", message("long"))
    assert await c2d.next_due_ms() == int(NOW * 1000) + 10_000
    rig.clock.now += 10
    await c2d.sweep()
    assert await c2d.next_due_ms() == int(NOW * 1000) + 3_600_000
    assert await bodies(c2d) == ["long"]


async def test_what_time_ends_does_not_wait_for_a_quiet_moment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    c2d, woken = rig.services.c2d, asyncio.Event()
    await c2d.send("d1", message())
    assert await c2d.take("d1")
    detach = c2d.attach("d1", woken.set)
    rig.clock.now += 60
    look = c2d.next_due_ms

    async def busy() -> int | None:
        due_ms = await look()
        await c2d.purge("other")
        return due_ms

    await rig.device("other")
    monkeypatch.setattr(c2d, "next_due_ms", busy)
    job = asyncio.create_task(c2d.run())
    async with asyncio.timeout(30):
        await woken.wait()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    detach()


async def test_feedback_has_its_limit_under_steady_traffic(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    c2d = rig.services.c2d
    monkeypatch.setattr(service, "SLEEP_SECS_MAX", 0.01)
    await end(rig, "a", "b", "c", "d", "e", "f", "g")
    look, sweep, swept = c2d.next_due_ms, c2d.feedback.sweep, asyncio.Event()

    async def busy() -> int | None:
        due_ms = await look()
        await c2d.purge("d1")
        return due_ms

    async def tells() -> None:
        await sweep()
        swept.set()

    monkeypatch.setattr(c2d, "next_due_ms", busy)
    monkeypatch.setattr(c2d.feedback, "sweep", tells)
    job = asyncio.create_task(c2d.run())
    async with asyncio.timeout(30):
        await swept.wait()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    assert c2d.feedback.dropped == 2


async def test_a_database_that_is_away_keeps_locks_for_their_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(_work: Any) -> None:
        raise HubError(ErrorCode.ServiceUnavailable, "The registry database does not answer.")

    c2d = rig.services.c2d
    await c2d.send("d1", message())
    delivery = await c2d.take("d1")
    assert delivery is not None
    with monkeypatch.context() as patch:
        patch.setattr(rig.database, "run", away)
        c2d.release("d1", [delivery.lock_token])
        await c2d.stop()
        await c2d.feedback.release(delivery.lock_token)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    rig.clock.now += 60
    assert await bodies(c2d) == ["m"]


async def records(c2d: CloudToDevice) -> list[tuple[str, str]]:
    batch = await c2d.feedback.take()
    if batch is None:
        return []
    await c2d.feedback.complete(batch.lock_token)
    return [(record["originalMessageId"], record["statusCode"]) for record in json.loads(batch.body)]


async def test_feedback_of_every_end(rig: Rig) -> None:
    c2d, sent = rig.services.c2d, ["done", "refused", "often"]
    for name in sent:
        await c2d.send("d1", message(name, ack=Ack.FULL))
    await c2d.send("d1", message("silent"))
    for settle in (c2d.complete, c2d.reject, c2d.abandon):
        delivery = await c2d.take("d1")
        assert delivery is not None
        await settle("d1", delivery.lock_token)
    delivery = await c2d.take("d1")
    assert delivery is not None
    await c2d.abandon("d1", delivery.lock_token)
    assert await records(c2d) == [
        ("done", "Success"),
        ("refused", "Rejected"),
        ("often", "DeliveryCountExceeded"),
    ]
    assert await c2d.purge("d1") == 1
    await c2d.send("d1", message("old", ack=Ack.NEGATIVE, expires_ms=int(NOW * 1000) + 1))
    await c2d.send("d1", message("unwanted", ack=Ack.NEGATIVE))
    rig.clock.now += 1
    assert await c2d.purge("d1") == 1
    assert await records(c2d) == [], "two records wait for company"
    rig.clock.now += 15
    assert await records(c2d) == [("old", "Expired"), ("unwanted", "Purged")]


async def end(rig: Rig, *names: str) -> None:
    """Messages whose feedback is wanted end."""
    for name in names:
        await rig.services.c2d.send("d1", message(name, ack=Ack.FULL))
    assert await rig.services.c2d.purge("d1") == len(names)


async def test_a_record_says_where_and_when(rig: Rig) -> None:
    await end(rig, "a", "b", "c")
    batch = await rig.services.c2d.feedback.take()
    assert batch is not None
    device = await rig.registry.device("d1")
    assert device is not None
    assert json.loads(batch.body)[0] == {
        "originalMessageId": "a",
        "enqueuedTimeUtc": "2026-01-01T00:00:00.000Z",
        "statusCode": "Purged",
        "description": "Purged",
        "deviceId": "d1",
        "deviceGenerationId": device.generation_id,
    }


async def test_batches_are_locked_given_back_and_given_up(rig: Rig) -> None:
    feedback, woken = rig.services.c2d.feedback, list[int]()
    detach = feedback.attach(lambda: woken.append(1))
    await end(rig, "a", "b", "c", "d")
    await rig.services.c2d.sweep()
    await rig.services.c2d.sweep()
    assert woken == [1], "told once"
    first = await feedback.take()
    assert first is not None
    assert await feedback.take() is None, "the fourth waits for company"
    await feedback.abandon(first.lock_token)
    assert await code_of(feedback.complete(first.lock_token)) is ErrorCode.DeviceMessageLockLost
    second = await feedback.take()
    assert second is not None
    assert (second.body, second.delivery_count) == (first.body, 1)
    await feedback.release(second.lock_token)
    third = await feedback.take()
    assert third is not None
    assert third.delivery_count == 1
    await feedback.abandon(third.lock_token)
    assert feedback.dropped == 3
    rig.clock.now += 15
    await rig.services.c2d.sweep()
    assert woken == [1, 1]
    assert await records(rig.services.c2d) == [("d", "Purged")]
    detach()


async def test_a_lock_on_a_batch_ends(rig: Rig) -> None:
    feedback = rig.services.c2d.feedback
    await end(rig, "a", "b", "c")
    first = await feedback.take()
    assert first is not None
    rig.clock.now += 60
    assert await code_of(feedback.complete(first.lock_token)) is ErrorCode.DeviceMessageLockLost
    assert len(await records(rig.services.c2d)) == 3


async def test_feedback_nobody_fetches_is_dropped_and_counted(rig: Rig) -> None:
    await end(rig, "a", "b", "c", "d", "e", "f", "g")
    await rig.services.c2d.sweep()
    assert rig.services.c2d.feedback.dropped == 2
    assert [name for name, _ in await records(rig.services.c2d)] == ["c", "d", "e"]
    rig.clock.now += 3600
    await rig.services.c2d.sweep()
    assert rig.services.c2d.feedback.dropped == 4


async def test_a_deleted_device_takes_its_messages_along(rig: Rig) -> None:
    await end(rig, "a", "b", "c")
    await rig.services.c2d.send("d1", message())
    await rig.registry.delete_device("d1", None)
    await rig.device("d1")
    assert await rig.services.c2d.take("d1") is None
    assert await records(rig.services.c2d) == []
