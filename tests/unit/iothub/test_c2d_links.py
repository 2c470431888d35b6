"""Cloud-to-device messages over AMQP: links of devices and of services (rows 28, 29, 94, 115, 118)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import cproton  # type: ignore[import-untyped]
import pytest
from cproton import lib

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import LinkClosed, Received
from edgehub.protocol.amqp_message import decode_message, encode_message, encode_section
from edgehub.protocol.amqp_types import Ubyte
from iothub.amqp.c2d_messages import encode_delivery
from iothub.c2d.model import Ack, C2dLimits, C2dMessage
from iothub.config import HubLimits
from unit.iothub.hub_rig import NOW, Client, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgehub.protocol.amqp_handles import AmqpLink

TO = "/devices/{}/messages/devicebound"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    limits = HubLimits(c2d=C2dLimits(depth_max=3, deliveries_max=2, feedback_batch_max=1))
    async with hub(tmp_path, limits) as made:
        await made.device("d1")
        yield made


class Device:
    """A device that takes messages."""

    def __init__(self, client: Client, link: AmqpLink) -> None:
        self.client = client
        self.link = link

    async def messages(self) -> list[Received]:
        """What came since the last call."""
        await self.client.settle()
        return [event for event in self.client.take(Received) if event.link is self.link]

    async def bodies(self) -> list[bytes]:
        """Of what came."""
        return [decode_message(event.payload).body for event in await self.messages()]


async def device(rig: Rig, credit: int = 10, address: str = "/devices/d1/messages/deviceBound") -> Device:
    client = rig.client()
    await client.login("d1")
    link = client.engine.new_session().attach_receiver("DeviceBound", address, credit=credit)
    await client.settle()
    return Device(client, link)


async def send(rig: Rig, text: str = "m", ack: Ack = Ack.NONE) -> None:
    await rig.services.c2d.send("d1", C2dMessage(text.encode(), text, ack=ack))


async def left(rig: Rig) -> int:
    return (await rig.services.c2d.counts(["d1"])).get("d1", 0)


async def service(rig: Rig, policy: str = "service") -> Client:
    client = rig.client()
    status, _ = await client.put_token(rig.policy_token(policy))
    assert status == 200
    return client


async def test_row_28_a_message_with_its_lock_token(rig: Rig) -> None:
    found = await device(rig)
    full = C2dMessage(
        b"body", "id", "corr", "user", "text/plain", "utf-8", int(NOW * 1000) + 60_000, Ack.FULL, {"a": "1"}
    )
    await rig.services.c2d.send("d1", full)
    (event,) = await found.messages()
    message = decode_message(event.payload)
    token = message.annotations.pop("x-opt-lock-token")
    assert isinstance(token, UUID)
    assert not event.settled
    assert message.annotations == {
        "x-opt-sequence-number": 1,
        "iothub-enqueuedtime": int(NOW * 1000),
        "iothub-deliverycount": 0,
    }
    assert isinstance(message.annotations["iothub-deliverycount"], Ubyte)
    assert message.properties == {
        "message_id": "id",
        "correlation_id": "corr",
        "user_id": b"user",
        "to": "/devices/d1/messages/devicebound",
        "absolute_expiry_time": int(NOW * 1000) + 60_000,
        "content_type": "text/plain",
        "content_encoding": "utf-8",
    }
    assert message.application_properties == {"a": "1", "iothub-ack": "full"}
    assert message.body == b"body"
    assert await left(rig) == 1
    event.delivery.accept()
    await found.client.settle()
    assert await left(rig) == 0


async def test_a_device_that_settles_second_learns_that_its_outcome_is_stored(rig: Rig) -> None:
    """As C# and Java do (section 1.4.1)."""
    client = rig.client()
    await client.login("d1")
    link = client.engine.new_session().attach_receiver("r", "/devices/d1/messages/deviceBound", credit=1)
    lib.pn_link_set_rcv_settle_mode(link.impl, cproton.PN_RCV_SECOND)
    found = Device(client, link)
    await send(rig, "1")
    (event,) = await found.messages()
    assert lib.pn_link_remote_rcv_settle_mode(link.impl) == cproton.PN_RCV_SECOND
    lib.pn_delivery_update(event.delivery.impl, cproton.PN_ACCEPTED)
    assert not lib.pn_delivery_settled(event.delivery.impl)
    await client.settle()
    assert await left(rig) == 0
    await client.settle()
    assert lib.pn_delivery_settled(event.delivery.impl)


async def test_row_29_rejected_released_modified(rig: Rig) -> None:
    found = await device(rig)
    await send(rig, "no", ack=Ack.FULL)
    (event,) = await found.messages()
    event.delivery.reject(AmqpFault(amqp_errors.NOT_ALLOWED))
    await found.client.settle()
    assert await left(rig) == 0
    await send(rig, "later", ack=Ack.FULL)
    for _ in range(2):
        (event,) = await found.messages()
        event.delivery.release()
        found.link.grant(1)
    assert await found.messages() == []
    assert await left(rig) == 0
    statuses = []
    while (batch := await rig.services.c2d.feedback.take()) is not None:
        statuses += [record["statusCode"] for record in json.loads(batch.body)]
    assert statuses == ["Rejected", "DeliveryCountExceeded"]


async def test_nothing_comes_without_credit(rig: Rig) -> None:
    for text in ("1", "2", "3"):
        await send(rig, text)
    found = await device(rig, credit=1)
    assert await found.bodies() == [b"1"]
    assert await found.bodies() == []
    found.link.grant(5)
    assert await found.bodies() == [b"2", b"3"]


async def test_what_was_not_settled_goes_to_the_next_connection(rig: Rig) -> None:
    await send(rig, "1")
    first = await device(rig)
    (event,) = await first.messages()
    second = await device(rig)
    assert await second.bodies() == [b"1"]
    event.delivery.accept()
    await first.client.settle()
    assert await left(rig) == 1


async def test_a_lost_connection_gives_back_what_it_held(rig: Rig) -> None:
    await send(rig, "1")
    first = await device(rig)
    assert await first.bodies() == [b"1"]
    first.client.server.dispose()
    second = await device(rig)
    assert await second.bodies() == [b"1"]


async def test_a_late_outcome_changes_nothing(rig: Rig) -> None:
    found = await device(rig)
    await send(rig, "1")
    (event,) = await found.messages()
    rig.clock.now += 60
    await rig.services.c2d.sweep()
    (again,) = await found.messages()
    event.delivery.accept()
    await found.client.settle()
    assert await left(rig) == 1
    again.delivery.accept()
    await found.client.settle()
    assert await left(rig) == 0


async def test_modules_have_no_messages(rig: Rig) -> None:
    await rig.edge("gw")
    await rig.module("gw", "m")
    client = rig.client()
    await client.login("gw", "m")
    session = client.engine.new_session()
    session.attach_receiver("r", "/devices/gw/modules/m/messages/deviceBound", credit=1)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_IMPLEMENTED]


@pytest.mark.parametrize(
    "address", ["/messages/devicebound", "amqps://hub.example.test/messages/deviceBound/"]
)
async def test_a_service_sends(rig: Rig, address: str) -> None:
    client = await service(rig)
    link = await client.sender(address)
    properties = {
        "message_id": UUID(int=1),
        "to": TO.format("d1"),
        "absolute_expiry_time": int(NOW * 1000) + 1,
    }
    application = {"iothub-ack": "positive", "n": 5, "yes": True, "bare": None}
    assert (
        await client.send(link, b"hello", properties=properties, application_properties=application)
        == "accepted"
    )
    delivery = await rig.services.c2d.take("d1")
    assert delivery is not None
    assert delivery.message == C2dMessage(
        b"hello",
        str(UUID(int=1)),
        expires_ms=int(NOW * 1000) + 1,
        ack=Ack.POSITIVE,
        properties={"n": "5", "yes": "true", "bare": None},
    )
    assert decode_message(encode_delivery(delivery)).application_properties["bare"] is None


@pytest.mark.parametrize(
    ("message", "condition"),
    [
        ({"properties": {"to": TO.format("nobody")}}, amqp_errors.NOT_FOUND),
        ({"properties": {"to": "/devices/d1/modules/m/messages/devicebound"}}, amqp_errors.ARGUMENT_ERROR),
        ({"properties": {"to": "d1"}}, amqp_errors.ARGUMENT_ERROR),
        ({}, amqp_errors.ARGUMENT_ERROR),
        (
            {"properties": {"to": TO.format("d1")}, "application_properties": {"iothub-ack": "all"}},
            amqp_errors.ARGUMENT_ERROR,
        ),
        (
            {"properties": {"to": TO.format("d1")}, "application_properties": {"x": [1]}},
            amqp_errors.ARGUMENT_ERROR,
        ),
        ({"properties": {"to": TO.format("d1"), "absolute_expiry_time": 1}}, amqp_errors.ARGUMENT_ERROR),
    ],
)
async def test_row_118_what_must_not_be_sent(rig: Rig, message: dict[str, Any], condition: str) -> None:
    client = await service(rig)
    link = await client.sender("/messages/devicebound")
    assert await client.send(link, b"", **message) == condition
    assert await left(rig) == 0
    assert (
        await client.transfer(link, encode_message(properties={"to": TO.format("d1")}, value=5))
        == amqp_errors.ARGUMENT_ERROR
    )
    assert await client.transfer(link, b"\xff") == amqp_errors.DECODE_ERROR
    text = encode_section(0x73, [None, None, TO.format("d1"), *[None] * 5, "tomorrow"])
    assert await client.transfer(link, text) == amqp_errors.ARGUMENT_ERROR


async def test_row_115_a_full_queue(rig: Rig) -> None:
    client = await service(rig)
    link = await client.sender("/messages/devicebound")
    for want in ["accepted"] * 3 + [amqp_errors.RESOURCE_LIMIT]:
        assert await client.send(link, b"", properties={"to": TO.format("d1")}) == want


async def test_row_94_feedback(rig: Rig) -> None:
    client = await service(rig)
    session = client.engine.new_session()
    link = session.attach_receiver("f", "/messages/serviceBound/feedback", credit=2)
    await client.settle()
    await send(rig, "a", ack=Ack.FULL)
    await rig.services.c2d.purge("d1")
    await rig.services.c2d.sweep()
    await client.settle()
    (event,) = [event for event in client.take(Received) if event.link is link]
    batch = decode_message(event.payload)
    assert batch.properties == {
        "user_id": b"hub",
        "content_type": "application/vnd.microsoft.iothub.feedback.json",
    }
    assert [record["statusCode"] for record in json.loads(batch.body)] == ["Purged"]
    event.delivery.release()
    await client.settle()
    await rig.services.c2d.sweep()
    await client.settle()
    (event,) = [event for event in client.take(Received) if event.link is link]
    assert decode_message(event.payload).annotations["iothub-deliverycount"] == 1
    event.delivery.accept()
    await client.settle()
    assert await rig.services.c2d.feedback.take() is None


@pytest.mark.parametrize("policy", ["device", "registryRead"])
async def test_other_policies_may_not(rig: Rig, policy: str) -> None:
    client = await service(rig, policy)
    await client.sender("/messages/devicebound")
    client.engine.new_session().attach_receiver("f", "/messages/serviceBound/feedback", credit=1)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED] * 2


async def test_a_device_may_not(rig: Rig) -> None:
    client = rig.client()
    await client.login("d1")
    await client.sender("/messages/devicebound")
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_the_wrong_way_round_is_refused(rig: Rig) -> None:
    client = await service(rig)
    await client.sender("/messages/serviceBound/feedback")
    client.engine.new_session().attach_receiver("r", "/messages/devicebound", credit=1)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_IMPLEMENTED] * 2


async def test_links_of_a_service_end_with_its_token(rig: Rig) -> None:
    client = rig.client()
    await client.put_token(rig.policy_token("service", life=10))
    await client.sender("/messages/devicebound")
    rig.clock.now += 10_000
    client.server.on_deadline(client.now)
    await client.settle()
    (closed,) = client.take(LinkClosed)
    assert closed.fault is not None
    assert closed.fault.condition == amqp_errors.UNAUTHORIZED
