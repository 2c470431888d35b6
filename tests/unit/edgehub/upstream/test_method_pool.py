"""Method calls of the parent hub on the link (iothub spec 1.4.6; T-018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_message import AmqpMessage, decode_message, encode_message
from unit.edgehub.upstream.test_upstream_connection import Rig
from unit.edgehub.upstream.upstream_fakes import Hub

if TYPE_CHECKING:
    from edgehub.protocol.amqp_events import Received

LEAF = "leaf"
METHODS = "/devices/{}/methods/deviceBound"


class MethodHub(Hub):
    """Keeps answers to calls."""

    def _message(self, event: Received) -> None:
        if str(event.link.tag).endswith("/methods/deviceBound"):
            self.answers.append(decode_message(event.payload))
            event.delivery.accept()
        else:
            super()._message(event)

    answers: list[AmqpMessage]


def rig() -> Rig:
    hub = MethodHub()
    hub.answers = []
    return Rig(hub)


def follow(found: Rig, identity: str, *, wanted: bool = True) -> None:
    found.link.method_follow(identity, found.now, wanted=wanted)
    found.run()


def call(found: Rig, identity: str, **message: Any) -> None:
    message = {
        "properties": {"correlation_id": UUID(int=7)},
        "application_properties": {"IoThub-methodname": "reset"},
        "data": b'{"x":1}',
        **message,
    }
    found.hub.links["<" + METHODS.format(identity)].send_settled(encode_message(**message))
    found.run()


def test_a_call_comes_in_and_its_answer_goes_back() -> None:
    found = rig()
    follow(found, LEAF)
    follow(found, LEAF)
    properties = found.hub.properties[METHODS.format(LEAF)]
    assert properties["com.microsoft:auth-chain"] == "leaf;edge1"
    assert properties["com.microsoft:channel-correlation-id"].startswith("methods:")
    call(found, LEAF)
    ((channel, request),) = found.calls
    assert (request.identity, request.name, request.payload) == (LEAF, "reset", b'{"x":1}')
    assert channel.answer(request, 202, b'{"ok":1}')
    found.run()
    (answer,) = found.hub.answers  # type: ignore[attr-defined]
    assert answer.correlation_id == UUID(int=7)
    assert (answer.application_properties, answer.body) == ({"IoThub-status": 202}, b'{"ok":1}')


def test_what_cannot_be_a_call_is_passed_over() -> None:
    found = rig()
    follow(found, LEAF)
    call(found, LEAF, properties={})
    call(found, LEAF, application_properties={})
    call(found, LEAF, application_properties={"IoThub-methodname": 5})
    found.hub.links["<" + METHODS.format(LEAF)].send_settled(b"\xff\xff")
    found.run()
    assert found.calls == []
    call(found, LEAF)
    assert len(found.calls) == 1


def test_credit_comes_back_with_the_answers() -> None:
    found = rig()
    follow(found, LEAF)
    link = found.hub.links["<" + METHODS.format(LEAF)]
    credit = link.credit
    for _ in range(50):
        call(found, LEAF)
    assert (link.credit, len(found.calls)) == (credit - 50, 50)
    for channel, request in found.calls:
        channel.answer(request, 200, b"")
    found.run()
    assert link.credit == credit


def test_who_is_no_longer_followed_has_no_links() -> None:
    found = rig()
    follow(found, LEAF)
    call(found, LEAF)
    follow(found, LEAF, wanted=False)
    assert set(found.hub.closed) == {METHODS.format(LEAF)}
    channel, request = found.calls[0]
    assert not channel.answer(request, 200, b"")
    follow(found, LEAF)
    call(found, LEAF)
    assert len(found.calls) == 2


def test_refused_links_are_opened_again() -> None:
    found = rig()
    found.hub.refuse[METHODS.format(LEAF)] = AmqpFault(amqp_errors.NOT_IMPLEMENTED)
    follow(found, LEAF)
    found.hub.refuse.clear()
    found.at(5.0)
    call(found, LEAF)
    assert len(found.calls) == 1


def test_the_link_goes_with_an_answer_under_way() -> None:
    found = rig()
    follow(found, LEAF)
    call(found, LEAF)
    found.link.feed_eof(found.now)
    channel, request = found.calls[0]
    assert not channel.answer(request, 200, b"")
    found.link.method_follow(LEAF, found.now, wanted=True)
