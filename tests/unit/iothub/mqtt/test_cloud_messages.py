"""Cloud-to-device messages over MQTT (section 5.2; row 54)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iothub.c2d.model import Ack, C2dMessage
from iothub.mqtt import cloud_messages
from testkit.fake_core import (
    Call,
    ClosedEvent,
    ConnectEvent,
    SendDoneEvent,
    SubscribeEvent,
    UnsubscribeEvent,
)
from unit.iothub.mqtt.mqtt_rig import MqttRig, mqtt_hub, until, username

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILTER = "devices/d1/messages/devicebound/#"
TOPIC = "devices/d1/messages/devicebound"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MqttRig]:
    async with mqtt_hub(tmp_path) as made:
        assert await made.connect(1, "d1") == ["accept 1"]
        yield made


async def send(rig: MqttRig, body: bytes, **members: object) -> None:
    await rig.hub.services.c2d.send("d1", C2dMessage(body, **members))  # type: ignore[arg-type]


async def listen(rig: MqttRig, conn: int) -> None:
    """A SUBSCRIBE that is granted; what is sent because of it is left."""
    rig.core.push(SubscribeEvent(conn, 1, [(FILTER, 1)]))
    await until(lambda: any(call.name == "suback" for call in rig.core.calls))


async def sent(rig: MqttRig, count: int = 1) -> list[Call]:
    await until(lambda: sum(call.name == "send" for call in rig.core.calls) >= count)
    return rig.core.take_calls("send")


async def waiting(rig: MqttRig) -> int:
    return (await rig.hub.services.c2d.counts(["d1"])).get("d1", 0)


async def settled(rig: MqttRig, left: int) -> None:
    """Waits until so many messages are left in the queue."""
    for _ in range(2000):
        if await waiting(rig) == left:
            return
    raise AssertionError(f"{await waiting(rig)} messages are left")


async def test_a_message_and_its_acknowledgement(rig: MqttRig) -> None:
    await send(rig, b"before", message_id="m 1", properties={"k": "ü"}, ack=Ack.FULL)
    assert await rig.take() == [], "the device does not listen"
    await listen(rig, 1)
    (call,) = await sent(rig)
    assert (call.conn, call.payload, call.qos) == (1, b"before", 1)
    to = "%2Fdevices%2Fd1%2Fmessages%2Fdevicebound"
    assert call.topic == f"{TOPIC}/k=%C3%BC&%24.mid=m%201&%24.to={to}&iothub-ack=full"
    assert await waiting(rig) == 1
    rig.core.push(SendDoneEvent(1, call.token, "acked"))
    await settled(rig, 0)
    await send(rig, b"after")
    (call,) = await sent(rig)
    assert call.payload == b"after"


async def test_row_54_what_is_not_acknowledged_comes_again_without_subscribe(rig: MqttRig) -> None:
    await rig.closed(1)
    assert await rig.connect(2, "d1", clean_session=False) == ["accept 2"]
    await listen(rig, 2)
    await send(rig, b"a")
    (first,) = await sent(rig)
    rig.core.push(ClosedEvent(2, "10.0.0.1:2", reason="eof"), SendDoneEvent(2, first.token, "closed"))
    await until(lambda: not rig.core.events)
    await send(rig, b"b")
    rig.core.take_calls()
    password = (await rig.hub.token("d1")).encode()
    rig.core.push(ConnectEvent(3, "d1", username("d1"), password, clean_session=False))
    calls = await sent(rig, 2)
    assert [(call.conn, call.payload) for call in calls] == [(3, b"a"), (3, b"b")]


async def test_a_device_without_filter_gets_nothing(rig: MqttRig) -> None:
    await listen(rig, 1)
    rig.core.take_calls()
    assert await rig.feed(UnsubscribeEvent(1, 2, [FILTER])) == ["unsuback 1 2"]
    await send(rig, b"x")
    assert await rig.take() == []
    assert await waiting(rig) == 1


async def test_a_device_that_does_not_read_is_left_alone(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_messages, "RETRY_S", 0.05)
    await listen(rig, 1)
    await send(rig, b"x")
    (call,) = await sent(rig)
    rig.core.push(SendDoneEvent(1, call.token, "overflow"))
    (again,) = await sent(rig)
    rig.core.push(SendDoneEvent(1, again.token, "acked"))
    await settled(rig, 0)


async def test_the_window_is_bounded(rig: MqttRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_messages, "WINDOW_MAX", 2)
    for number in range(5):
        await send(rig, b"%d" % number)
    await listen(rig, 1)
    first, second = await sent(rig, 2)
    assert await rig.take() == []
    rig.core.push(SendDoneEvent(1, second.token, "acked"))
    (third,) = await sent(rig)
    assert [call.payload for call in (first, second, third)] == [b"0", b"1", b"2"]


async def test_what_cannot_be_a_topic_is_rejected(rig: MqttRig, caplog: pytest.LogCaptureFixture) -> None:
    await listen(rig, 1)
    await send(rig, b"x")
    (call,) = await sent(rig)
    rig.core.push(SendDoneEvent(1, call.token, "not_encodable"))
    await settled(rig, 0)
    assert "too long" in caplog.text


async def test_a_module_may_have_the_filter_and_gets_nothing(rig: MqttRig) -> None:
    await rig.hub.module("d1", "m")
    await rig.connect(2, "d1/m")
    module_filter = "devices/d1/modules/m/messages/devicebound/#"
    assert await rig.feed(SubscribeEvent(2, 3, [(module_filter, 1)])) == ["suback 2 3 01"]
    await send(rig, b"x")
    assert await rig.take() == []
