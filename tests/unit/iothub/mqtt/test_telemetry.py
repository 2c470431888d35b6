"""From the engine's store to the log: nothing is given back before it is committed."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol.amqp_batch import BATCH_FORMAT, join_batch
from edgehub.protocol.amqp_message import encode_message
from iothub.errors import ErrorCode, HubError
from iothub.mqtt import telemetry
from iothub.telemetry.event import event_view
from testkit.fake_core import StoreError, StoreFailedEvent, UpstreamBatch, UpstreamReadyEvent
from unit.iothub.mqtt.mqtt_rig import MqttRig, mqtt_hub, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ONE = encode_message(data=b"1", application_properties={"k": "v", "ü": "", "bare": None})
TWO = encode_message(data=b"2", properties={"message_id": "m2"})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MqttRig]:
    async with mqtt_hub(tmp_path) as made:
        yield made


async def settlements(rig: MqttRig, count: int) -> list[tuple[int, str]]:
    await until(lambda: len(rig.core.calls) >= count)
    return [(call.token, call.outcome) for call in rig.core.take_calls("upstream_settle")]


async def test_batches_arrive_with_their_origin(rig: MqttRig) -> None:
    module = await rig.hub.module("d1", "m")
    rig.core.batches = [
        UpstreamBatch(1, "d1", 2, join_batch([ONE, TWO]), BATCH_FORMAT),
        UpstreamBatch(2, "d1/m", 1, TWO),
    ]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 2) == [(1, "delivered"), (2, "delivered")]
    first, second, third = await rig.hub.events()
    assert first.properties == {"k": "v", "ü": "", "bare": None}, "row 56"
    assert (first.body, second.body, second.system["message-id"]) == (b"1", b"2", "m2")
    assert (first.origin.device_id, first.origin.module_id, first.origin.auth_type) == ("d1", None, "sas")
    assert (third.origin.module_id, third.origin.generation_id) == ("m", module.generation_id)
    assert event_view(first)["properties"]["bare"] is None


async def test_what_a_run_before_left_is_taken_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, ...]] = []

    def take(core: object, *limits: int) -> list[UpstreamBatch]:
        taken.append(limits)
        return []

    monkeypatch.setattr("testkit.fake_core.Engine.upstream_take", take)
    async with mqtt_hub(tmp_path):
        await until(lambda: bool(taken))


async def test_nothing_is_settled_before_the_commit_and_a_failure_is_tried_again(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "RETRY_S", 0.01)
    transaction, failures = rig.hub.telemetry.log._transaction, [sqlite3.OperationalError("disk is full")]
    settled: list[int] = []

    def failing(statement: str, rows: list[Any]) -> None:
        settled.append(len(rig.core.calls))
        if failures:
            raise failures.pop()
        transaction(statement, rows)

    monkeypatch.setattr(rig.hub.telemetry.log, "_transaction", failing)
    rig.core.batches = [UpstreamBatch(7, "d1", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 1) == [(7, "retry")]
    rig.core.batches = [UpstreamBatch(8, "d1", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 1) == [(8, "delivered")]
    assert settled == [0, 0]
    assert len(await rig.hub.events()) == 1


async def test_a_log_that_has_fallen_behind_is_given_nothing(rig: MqttRig) -> None:
    await rig.take()
    rig.hub.telemetry._set_full(True)
    rig.core.batches = [UpstreamBatch(1, "d1", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert len(rig.core.batches) == 1
    rig.hub.telemetry._set_full(False)
    assert await settlements(rig, 1) == [(1, "delivered")]


async def test_a_sender_that_is_gone_keeps_its_messages(rig: MqttRig) -> None:
    await rig.hub.registry.delete_device("d2", None)
    rig.core.batches = [UpstreamBatch(1, "d2", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 1) == [(1, "delivered")]
    (event,) = await rig.hub.events()
    assert (event.origin.device_id, event.origin.generation_id, event.origin.auth_type) == ("d2", "", "")


async def test_a_store_that_cannot_be_read_is_tried_again(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "RETRY_S", 0.01)
    take, errors = rig.core.upstream_take, [StoreError("on purpose")]

    def failing(*limits: int) -> list[UpstreamBatch]:
        if errors:
            raise errors.pop()
        return take(*limits)

    monkeypatch.setattr(rig.core, "upstream_take", failing)
    rig.core.batches = [UpstreamBatch(1, "d1", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 1) == [(1, "delivered")]
    assert "on purpose" in caplog.text


@pytest.mark.parametrize(
    ("fault", "traceback"),
    [(RuntimeError("on purpose"), True), (HubError(ErrorCode.ServiceUnavailable, "on purpose"), False)],
    ids=["fault", "away"],
)
async def test_a_sender_that_cannot_be_looked_up_is_tried_again(
    rig: MqttRig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    traceback: bool,
) -> None:
    monkeypatch.setattr(telemetry, "RETRY_S", 0.01)

    async def broken(*parts: object) -> None:
        raise fault

    monkeypatch.setattr(rig.hub.registry, "identity", broken)
    rig.core.batches = [UpstreamBatch(1, "d1", 1, ONE)]
    rig.core.push(UpstreamReadyEvent())
    assert await settlements(rig, 1) == [(1, "retry")]
    assert "on purpose" in caplog.text
    assert ("Traceback" in caplog.text) is traceback


async def test_a_store_that_failed_ends_the_hub(rig: MqttRig) -> None:
    await rig.feed(StoreFailedEvent("disk gone"), count=0)
    assert rig.failures == ["the store of MQTT messages failed: disk gone"]


async def test_a_job_that_fails_ends_the_hub(rig: MqttRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*parts: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(rig.core, "upstream_take", broken)
    rig.core.push(UpstreamReadyEvent())
    await until(lambda: bool(rig.failures))
    assert rig.failures == ["the task MQTT telemetry failed: on purpose"]
