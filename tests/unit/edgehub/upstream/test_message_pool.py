"""Cloud-to-device messages of the parent hub on the link (iothub spec 1.4.5; T-016, T-018)."""

from __future__ import annotations

from uuid import UUID

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import Disposed, OutcomeKind
from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.cloud_messages import Settlement
from edgehub.upstream.message_channel import CREDIT
from unit.edgehub.upstream.test_upstream_connection import Rig
from unit.edgehub.upstream.upstream_fakes import Hub

LEAF = "leaf"
ADDRESS = "/devices/leaf/messages/deviceBound"


class MessageHub(Hub):
    """Keeps what became of messages."""

    outcomes: list[OutcomeKind]

    def handle(self) -> None:
        events = self.engine.events()
        self.outcomes += [event.outcome.kind for event in events if isinstance(event, Disposed)]
        self.engine._events = [event for event in events if not isinstance(event, Disposed)]
        super().handle()


class MessageRig:
    """A link to a hub that has messages."""

    def __init__(self) -> None:
        self.hub = MessageHub()
        self.hub.outcomes = []
        self.found = Rig(self.hub)

    def follow(self, *, wanted: bool = True) -> None:
        self.found.link.message_follow(LEAF, self.found.now, wanted=wanted)
        self.found.run()

    def send(self, payload: bytes | None = None) -> None:
        message = encode_message(annotations={"x-opt-lock-token": UUID(int=7)}, data=b"hi")
        self.hub.links["<" + ADDRESS].send(message if payload is None else payload, tag=UUID(int=7).bytes)
        self.found.run()

    def settle(self, settlement: Settlement) -> bool:
        channel, message = self.found.messages.pop(0)
        done = channel.settle(message, settlement)
        self.found.run()
        return done


def test_messages_come_and_are_settled() -> None:
    rig = MessageRig()
    rig.follow()
    assert rig.hub.properties[ADDRESS]["com.microsoft:auth-chain"] == "leaf;edge1"
    credit = rig.hub.links["<" + ADDRESS].credit
    for settlement in (Settlement.COMPLETE, Settlement.REJECT, Settlement.NOTHING):
        rig.send()
        ((_, message),) = rig.found.messages
        assert (message.identity, message.message.payload, message.message.lock_token) == (
            LEAF,
            b"hi",
            UUID(int=7),
        )
        assert rig.settle(settlement)
    assert rig.hub.outcomes == ["accepted", "rejected", "settled"]
    assert rig.hub.links["<" + ADDRESS].credit == credit >= CREDIT


def test_what_cannot_be_read_is_rejected() -> None:
    rig = MessageRig()
    rig.follow()
    credit = rig.hub.links["<" + ADDRESS].credit
    rig.send(b"\xff\xff")
    assert rig.hub.outcomes == ["rejected"]
    assert rig.found.messages == []
    assert rig.hub.links["<" + ADDRESS].credit == credit


def test_t_016_again_after_unsubscribing() -> None:
    rig = MessageRig()
    rig.follow()
    rig.send()
    rig.follow(wanted=False)
    assert set(rig.hub.closed) == {ADDRESS}
    assert not rig.settle(Settlement.COMPLETE), "the link is gone, the parent has it still"
    rig.follow()
    rig.send()
    assert rig.settle(Settlement.COMPLETE)


def test_a_refused_link_is_opened_again() -> None:
    rig = MessageRig()
    rig.hub.refuse[ADDRESS] = AmqpFault(amqp_errors.NOT_IMPLEMENTED)
    rig.follow()
    rig.hub.refuse.clear()
    rig.found.at(5.0)
    rig.send()
    assert rig.settle(Settlement.COMPLETE)


def test_the_connection_goes_with_a_message_under_way() -> None:
    rig = MessageRig()
    rig.follow()
    rig.send()
    rig.found.link.feed_eof(rig.found.now)
    assert not rig.settle(Settlement.COMPLETE)
