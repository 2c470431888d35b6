"""Cloud-to-device messages to devices (heads spec 8; M-053, M-054, T-014 to T-016)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from edgehub.common.ids import IdentityId
from edgehub.hub import cloud_messages
from edgehub.hub.cloud_messages import CREATED_SKEW_MS, REMEMBERED_MAX, CloudMessages
from edgehub.protocol.cloud_messages import CloudMessage, Settlement
from edgehub.protocol.topics import SubscriptionKind

LEAF = IdentityId("leaf")
SUBSCRIBED = frozenset({SubscriptionKind.CLOUD_TO_DEVICE})


class Rig:
    """A parent that keeps whom it may send to, and a device whose acknowledgements the test gives.

    :ivar outcomes: of the next publishes; without one the test ends them in `open`.
    """

    def __init__(self, *outcomes: str) -> None:
        self.followed: set[str] = set()
        self.outcomes = list(outcomes)
        self.sent: list[tuple[str, bytes, int | None]] = []
        self.open: list[asyncio.Future[str]] = []
        self.connected = True
        self.messages = CloudMessages(self, self.send)

    def follow(self, identity: str, *, wanted: bool) -> None:
        (self.followed.add if wanted else self.followed.discard)(identity)

    def send(
        self, _target: IdentityId, topic: str, payload: bytes, created_ms: int | None
    ) -> asyncio.Future[str] | None:
        if not self.connected:
            return None
        self.sent.append((topic, payload, created_ms))
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if self.outcomes:
            done.set_result(self.outcomes.pop(0))
        self.open.append(done)
        return done


def message(number: int = 1, **changes: Any) -> CloudMessage:
    values: dict[str, Any] = {
        "lock_token": UUID(int=number),
        "sequence": number,
        "enqueued_ms": 1000,
        "system": {"$.mid": "m"},
    }
    return CloudMessage(b"hi", **(values | changes))


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [
        ("acked", Settlement.COMPLETE),
        ("sent", Settlement.COMPLETE),
        ("no_subscription", Settlement.REJECT),
        ("too_old", Settlement.REJECT),
        ("not_encodable", Settlement.REJECT),
        ("closed", Settlement.NOTHING),
    ],
)
async def test_what_becomes_of_a_message(outcome: str, settlement: Settlement) -> None:
    rig = Rig(outcome)
    assert await rig.messages.serve("leaf", message()) is settlement
    assert rig.sent == [("devices/leaf/messages/devicebound/%24.mid=m", b"hi", 1000 + CREATED_SKEW_MS)]


async def test_m_053_without_time_it_is_new() -> None:
    rig = Rig("acked")
    await rig.messages.serve("leaf", message(enqueued_ms=None))
    assert rig.sent[0][2] is None


async def test_t_015_who_is_not_connected_gets_nothing() -> None:
    rig = Rig()
    rig.connected = False
    assert await rig.messages.serve("leaf", message()) is Settlement.NOTHING


async def test_t_014_the_same_delivery_twice() -> None:
    rig = Rig()
    first = asyncio.ensure_future(rig.messages.serve("leaf", message()))
    await asyncio.sleep(0)
    assert await rig.messages.serve("leaf", message()) is Settlement.NOTHING
    rig.open[0].set_result("acked")
    assert await first is Settlement.COMPLETE
    assert len(rig.sent) == 1


async def test_what_was_acknowledged_is_not_sent_again() -> None:
    rig = Rig("acked", "acked", "acked")
    await rig.messages.serve("leaf", message())
    again = message(lock_token=UUID(int=99))
    assert await rig.messages.serve("leaf", again) is Settlement.COMPLETE
    assert len(rig.sent) == 1
    for other in (message(enqueued_ms=1001), message(system={"$.mid": "n"})):
        await rig.messages.serve("leaf", other)
    assert len(rig.sent) == 3, "another message that has the same number"


async def test_memory_of_acknowledged_messages_is_bounded() -> None:
    rig = Rig(*["acked"] * (REMEMBERED_MAX + 2))
    for number in range(REMEMBERED_MAX + 1):
        await rig.messages.serve("leaf", message(number))
    await rig.messages.serve("leaf", message(REMEMBERED_MAX))
    assert len(rig.sent) == REMEMBERED_MAX + 1
    await rig.messages.serve("leaf", message(0))
    assert len(rig.sent) == REMEMBERED_MAX + 2


async def test_ids_that_the_client_may_spell_in_two_ways() -> None:
    rig = Rig("no_subscription", "acked")
    assert await rig.messages.serve("a b", message(system={})) is Settlement.COMPLETE
    topics = [topic for topic, _, _ in rig.sent]
    assert topics == ["devices/a b/messages/devicebound", "devices/a%20b/messages/devicebound"]


async def test_a_device_that_does_not_read_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_messages, "BUSY_RETRY_S", 0.0)
    rig = Rig("overflow", "overflow", "acked")
    assert await rig.messages.serve("leaf", message()) is Settlement.COMPLETE
    rig = Rig(*["overflow"] * 20)
    assert await rig.messages.serve("leaf", message()) is Settlement.NOTHING
    assert len(rig.sent) == cloud_messages.BUSY_TRIES_MAX


async def test_a_message_that_waited_while_another_delivery_of_it_was_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud_messages, "BUSY_RETRY_S", 0.0)
    rig = Rig("overflow", "acked")
    waits = asyncio.ensure_future(rig.messages.serve("leaf", message()))
    await asyncio.sleep(0)
    assert await rig.messages.serve("leaf", message(lock_token=UUID(int=99))) is Settlement.COMPLETE
    assert await waits is Settlement.COMPLETE
    assert len(rig.sent) == 2


async def test_t_016_only_devices_that_subscribe_get_messages() -> None:
    rig = Rig()
    rig.messages.connected(LEAF)
    assert rig.followed == set()
    rig.messages.subscriptions(LEAF, SUBSCRIBED)
    rig.messages.subscriptions(IdentityId("edge1", "m"), SUBSCRIBED)
    assert rig.followed == {"leaf"}
    rig.messages.subscriptions(LEAF, frozenset({SubscriptionKind.METHODS}))
    assert rig.followed == set()
    for ends in (rig.messages.connected, rig.messages.disconnected):
        rig.messages.subscriptions(LEAF, SUBSCRIBED)
        ends(LEAF)
        assert rig.followed == set()
