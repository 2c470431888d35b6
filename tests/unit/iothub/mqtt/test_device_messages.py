"""Cloud-to-device messages to a client on MQTT (section 5.2; row 54)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from iothub.c2d.model import C2dMessage
from iothub.mqtt import messages
from iothub.mqtt.messages import WINDOW, DeviceMessages
from unit.iothub.hub_rig import Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Wire:
    """A client whose acknowledgements the test gives."""

    def __init__(self, rig: Rig, device_id: str = "d1") -> None:
        self.rig = rig
        self.sent: list[tuple[str, bytes]] = []
        self.open: list[asyncio.Future[str]] = []
        self.connected = True
        self.messages = DeviceMessages(IdentityId(device_id), rig.services.c2d, self.send)

    def send(
        self, _target: IdentityId, topic: str, payload: bytes, created_ms: int | None
    ) -> asyncio.Future[str] | None:
        assert created_ms is None, "what waited for the subscription is delivered, however old"
        if not self.connected:
            return None
        self.sent.append((topic, payload))
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]

    async def settle(self) -> None:
        """Lets the database and the tasks come to rest."""
        quiet = 0
        while quiet < 5:
            quiet = 0 if self.rig.database.unfinished else quiet + 1
            await asyncio.sleep(0.001)

    async def end(self, outcome: str) -> None:
        """The oldest message ends."""
        self.open.pop(0).set_result(outcome)
        await self.settle()


async def _turn() -> None:
    """One turn of the loop, a thousandth of a second long."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, turned.set_result, None)
    await turned


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        await made.device("d1")
        yield made


async def send(rig: Rig, *texts: str, device_id: str = "d1") -> None:
    for text in texts:
        await rig.services.c2d.send(device_id, C2dMessage(text.encode(), text))


async def left(rig: Rig, device_id: str = "d1") -> int:
    return (await rig.services.c2d.counts([device_id])).get(device_id, 0)


async def test_row_54_what_waited_comes_in_order_and_is_completed(rig: Rig) -> None:
    await send(rig, "1", "2")
    wire = Wire(rig)
    await wire.settle()
    await send(rig, "3")
    await wire.settle()
    assert [body for _, body in wire.sent] == [b"1", b"2", b"3"]
    assert wire.sent[0][0] == (
        "devices/d1/messages/devicebound/%24.mid=1&%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound"
    )
    for left_over in (2, 1, 0):
        await wire.end("acked")
        assert await left(rig) == left_over
    wire.messages.stop()


async def test_the_window_is_bounded(rig: Rig) -> None:
    await send(rig, *(str(number) for number in range(WINDOW + 2)))
    wire = Wire(rig)
    await wire.settle()
    assert len(wire.sent) == WINDOW
    await wire.end("acked")
    assert len(wire.sent) == WINDOW + 1
    wire.messages.stop()


@pytest.mark.parametrize("outcome", ["closed", "no_subscription"])
async def test_what_was_not_acknowledged_goes_to_the_next(
    rig: Rig, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BUSY_S", 0.0)
    await send(rig, "1")
    first = Wire(rig)
    await first.settle()
    first.messages.stop()
    await first.end(outcome)
    second = Wire(rig)
    await second.settle()
    assert [body for _, body in second.sent] == [b"1"]
    second.messages.stop()


async def test_what_no_packet_can_carry_is_rejected(rig: Rig) -> None:
    await send(rig, "1")
    wire = Wire(rig)
    await wire.settle()
    await wire.end("not_encodable")
    assert await left(rig) == 0
    wire.messages.stop()


async def test_a_client_that_does_not_read_gets_it_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BUSY_S", 0.0)
    await send(rig, "1")
    wire = Wire(rig)
    await wire.settle()
    await wire.end("overflow")
    assert [body for _, body in wire.sent] == [b"1", b"1"]
    wire.messages.stop()


async def test_who_is_gone_gets_nothing(rig: Rig) -> None:
    wire = Wire(rig)
    wire.connected = False
    await send(rig, "1")
    await asyncio.sleep(0)
    wire.messages.stop()
    await wire.settle()
    assert await left(rig) == 1


async def test_a_filter_for_somebody_else_does_not_turn_in_circles(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BUSY_S", 3600.0)
    await send(rig, "1")
    wire = Wire(rig)
    while not wire.open:
        await _turn()
    wire.open.pop(0).set_result("no_subscription")
    for _ in range(100):
        await _turn()
    assert len(wire.sent) == 1
    wire.messages.stop()


async def test_ids_that_the_client_may_spell_in_two_ways(rig: Rig) -> None:
    await rig.device("a@b")
    await send(rig, "1", device_id="a@b")
    wire = Wire(rig, "a@b")
    await wire.settle()
    await wire.end("no_subscription")
    assert [topic.partition("/messages")[0] for topic, _ in wire.sent] == ["devices/a@b", "devices/a%40b"]
    await wire.end("acked")
    assert await left(rig, "a@b") == 0
    wire.messages.stop()
