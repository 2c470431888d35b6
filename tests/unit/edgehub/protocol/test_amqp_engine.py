"""The AMQP engine: two of them on a fake wire, and hostile bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_batch import BATCH_FORMAT
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import (
    ConnectionClosed,
    ConnectionOpened,
    Disposed,
    LinkAttached,
    LinkClosed,
    Received,
    SaslPlain,
    SessionClosed,
    SessionOpened,
    TransportFailed,
)
from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.amqp_types import Int
from unit.edgehub.protocol.amqp_helpers import accept_all, client, kinds, pump, sender_pair, server

MESSAGE = encode_message(data=b"hello")


def condition_of(event: LinkClosed | ConnectionClosed | TransportFailed) -> str | None:
    return event.fault.condition if event.fault else None


def received(engine: Any) -> Any:
    return [event for event in engine.events() if isinstance(event, Received)]


@pytest.mark.parametrize("sasl", [(), ("ANONYMOUS",), ("MSSBCBS",)], ids=["none", "anonymous", "mssbcbs"])
def test_open_with_and_without_sasl(sasl: Any) -> None:
    """A-001, A-002."""
    one, two = client(sasl_mechanisms=sasl), server()
    one.open()
    pump(one, two)
    assert kinds(two) == ["ConnectionOpened"]
    two.open()
    pump(one, two)
    assert kinds(one) == ["ConnectionOpened"]


@pytest.mark.parametrize("accepted", [True, False])
def test_sasl_plain_is_judged_by_the_owner(accepted: Any) -> None:
    """Row 42."""
    one, two = client(sasl_mechanisms=("PLAIN",), sasl_user="d@sas.hub", sasl_password="token"), server()
    one.open()
    pump(one, two)
    assert two.events() == [SaslPlain("d@sas.hub", "token")]
    two.sasl_decide(accepted)
    pump(one, two)
    assert kinds(two) == (["ConnectionOpened"] if accepted else ["TransportFailed"])
    assert two.finished is not accepted
    assert kinds(one) == ([] if accepted else ["TransportFailed"])


def test_single_and_batch_format_with_all_outcomes() -> None:
    one, two, near, _ = sender_pair()
    formats = (0, BATCH_FORMAT, 0, BATCH_FORMAT)
    sent = [near.send(MESSAGE, message_format=message_format) for message_format in formats]
    pump(one, two)
    events = received(two)
    assert [event.message_format for event in events] == [0, BATCH_FORMAT, 0, BATCH_FORMAT]
    assert all(event.payload == MESSAGE and not event.settled for event in events)
    fault = AmqpFault(amqp_errors.DECODE_ERROR, "bad ü")
    events[0].delivery.accept()
    events[1].delivery.release()
    events[2].delivery.reject(fault)
    events[3].delivery.settle()
    pump(one, two)
    got = {event.delivery: event.outcome for event in one.events() if isinstance(event, Disposed)}
    assert [got[delivery].kind for delivery in sent] == ["accepted", "released", "rejected", "settled"]
    assert got[sent[2]].fault == fault
    assert not near.unsettled


@pytest.mark.parametrize("size", [0, 1, 65000, 65536, 300_000, 1024 * 1024])
@pytest.mark.parametrize("message_format", [0, BATCH_FORMAT])
def test_sizes_and_splitting_into_frames(size: int, message_format: int) -> None:
    one, two, near, _ = sender_pair()
    payload = bytes(size)
    near.send(payload, message_format=message_format)
    near.send(MESSAGE)
    pump(one, two)
    events = received(two)
    assert [(len(event.payload), event.message_format) for event in events] == [
        (size, message_format),
        (len(MESSAGE), 0),
    ]


def test_one_byte_past_the_message_limit_detaches_the_link_alone() -> None:
    """Row 26, A-020."""
    one, two, near, _ = sender_pair(server_options={"message_bytes_max": 1000})
    other = one.new_session().attach_sender("link", "/x")
    pump(one, two)
    accept_all(two)
    pump(one, two)
    near.send(bytes(1001))
    other.send(MESSAGE)
    pump(one, two)
    events = two.events()
    assert [type(event) for event in events] == [LinkClosed, Received]
    closed = [event for event in one.events() if isinstance(event, LinkClosed)]
    assert [(event.link, condition_of(event)) for event in closed] == [(near, amqp_errors.MESSAGE_SIZE)]


def test_incomplete_messages_of_a_connection_are_bounded() -> None:
    one, two, near, _ = sender_pair(
        server_options={"partial_bytes_max": 100_000, "session_bytes_max": 200_000}
    )
    near.send(bytes(400_000))
    pump(one, two)
    assert [condition_of(event) for event in two.events() if isinstance(event, TransportFailed)] == [
        amqp_errors.RESOURCE_LIMIT
    ]
    assert [condition_of(event) for event in one.events() if isinstance(event, ConnectionClosed)] == [
        amqp_errors.RESOURCE_LIMIT
    ]


def test_same_link_names_in_two_sessions() -> None:
    """Row 19."""
    one, two = client(), server()
    one.open()
    links = [
        one.new_session().attach_sender("TelemetrySenderLink", f"/devices/d{i}/messages/events")
        for i in (1, 2)
    ]
    pump(one, two)
    accept_all(two)
    pump(one, two)
    for link in links:
        link.send(MESSAGE)
    pump(one, two)
    assert [event.link.remote_target for event in received(two)] == [
        "/devices/d1/messages/events",
        "/devices/d2/messages/events",
    ]


def test_link_properties_and_refusal() -> None:
    one, two = client(), server()
    one.open()
    near = one.new_session().attach_sender(
        "l", "/nowhere", properties={"com.microsoft:timeout": Int(5), "k": "v"}
    )
    pump(one, two)
    (link,) = [event.link for event in two.events() if isinstance(event, LinkAttached)]
    assert link.remote_properties == {"com.microsoft:timeout": 5, "k": "v"}
    two.open()
    link.session.open()
    link.refuse(AmqpFault(amqp_errors.NOT_FOUND, "no such node"))
    pump(one, two)
    events = one.events()
    assert near.remote_refused
    assert [event.fault for event in events if isinstance(event, LinkClosed)] == [
        AmqpFault(amqp_errors.NOT_FOUND, "no such node")
    ]


def test_transfer_without_credit_detaches_the_link() -> None:
    """Credit is the back-pressure; a peer that ignores it is cut off."""
    one, two, near, _ = sender_pair(credit=1)
    near.send(MESSAGE)
    wire = one.outbound()
    two.feed(wire)
    # The same transfer again with the next delivery-id: list sizes and the id field change.
    again = bytearray(wire[:15] + b"\x52\x01" + wire[16:])
    again[3] += 1
    again[12] += 1
    two.feed(bytes(again))
    assert [type(event) for event in two.events()] == [Received, LinkClosed]
    one.feed(two.outbound())
    assert [condition_of(event) for event in one.events() if isinstance(event, LinkClosed)] == [
        amqp_errors.TRANSFER_LIMIT
    ]


def test_handles_of_a_closed_link_do_nothing() -> None:
    one, two, near, far = sender_pair()
    delivery = near.send(MESSAGE)
    pump(one, two)
    (event,) = received(two)
    near.close()
    pump(one, two)
    assert kinds(two) == ["LinkClosed"]
    pump(one, two)
    for handle in (event.delivery, delivery):
        assert not handle.valid
        handle.accept()
        handle.reject(AmqpFault("x"))
        handle.release()
        handle.settle()
    for link in (near, far):
        assert link.send(MESSAGE) is None
        link.grant(5)
        link.close()
        assert link.credit == 0


def test_session_end_reports_its_links_first() -> None:
    one, two, near, far = sender_pair()
    near.session.close(AmqpFault(amqp_errors.RESOURCE_LIMIT, "why"))
    pump(one, two)
    events = two.events()
    assert [type(event) for event in events] == [LinkClosed, SessionClosed]
    assert events[0].link is far
    assert events[1].fault == AmqpFault(amqp_errors.RESOURCE_LIMIT, "why")


def test_close_carries_the_reason_and_finishes_both_sides() -> None:
    one, two, _, _ = sender_pair()
    two.close(AmqpFault(amqp_errors.CONNECTION_FORCED, "newer connection"))
    pump(one, two)
    assert one.events() == [ConnectionClosed(AmqpFault(amqp_errors.CONNECTION_FORCED, "newer connection"))]
    one.close()
    pump(one, two)
    assert one.finished
    assert two.finished


def test_row_41_idle_timeout_closes_at_twice_and_empty_frames_keep_alive() -> None:
    one, two, _, _ = sender_pair(
        client_options={"idle_timeout_ms": 60_000}, server_options={"idle_timeout_ms": 30_000}
    )
    two.on_deadline(0.0)
    one.on_deadline(0.0)
    assert two.remote_idle_timeout_ms == 60_000
    for now in (20.0, 40.0, 60.0, 80.0):
        one.on_deadline(now)
        heartbeat = one.outbound()
        assert heartbeat[:8] in (b"", b"\x00\x00\x00\x08\x02\x00\x00\x00")
        two.feed(heartbeat)
        two.on_deadline(now)
        two.outbound()
        assert kinds(two) == []
    assert two.deadline() is not None
    two.on_deadline(80.0 + 61.0)
    assert [event.fault.description for event in two.events() if isinstance(event, TransportFailed)] == [
        "local-idle-timeout expired"
    ]


def test_heartbeats_for_a_peer_that_asks_for_none() -> None:
    _, two, _, _ = sender_pair(
        client_options={"idle_timeout_ms": 0}, server_options={"heartbeat_default_ms": 120_000}
    )
    two.on_deadline(0.0)
    assert two.outbound() == b""
    assert two.deadline() == 60.0
    two.on_deadline(60.0)
    assert two.outbound() == b"\x00\x00\x00\x08\x02\x00\x00\x00"
    assert two.deadline() == 120.0


def test_end_of_stream_is_a_failure_unless_closed() -> None:
    _, two, _, _ = sender_pair()
    two.feed_eof()
    assert kinds(two) == ["TransportFailed"]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"AMQP\x00\x00\x09\x01", b"AMQP\x01"]
)
def test_row_44_wrong_first_bytes_are_refused_early(data: Any) -> None:
    two = server()
    two.feed(data)
    assert kinds(two) == ["TransportFailed"]
    assert two.finished
    assert two.outbound() == b"AMQP\x03\x01\x00\x00"


def test_byte_by_byte_equals_at_once() -> None:
    """Split anywhere."""
    script = bytearray()
    one, two = client(sasl_mechanisms=("ANONYMOUS",)), server()
    one.open()
    near = one.new_session().attach_sender("l", "/x")
    while True:
        out = one.outbound()
        script += out
        two.feed(out)
        accept_all(two)
        back = two.outbound()
        one.feed(back)
        if not out and not back:
            break
    near.send(MESSAGE, message_format=BATCH_FORMAT)
    near.send(bytes(100_000))
    script += one.outbound()
    slow = server()
    events: list[Any] = []
    for byte in bytes(script):
        slow.feed(bytes([byte]))
        for event in slow.events():
            events.append(type(event).__name__)
            match event:
                case ConnectionOpened():
                    slow.open()
                case SessionOpened(session=session):
                    session.open()
                case LinkAttached(link=link):
                    link.open()
                    link.grant(10)
                case Received(payload=payload, message_format=message_format):
                    events.append((len(payload), message_format))
        slow.outbound()
    assert events == [
        "ConnectionOpened", "SessionOpened", "LinkAttached",
        "Received", (len(MESSAGE), BATCH_FORMAT), "Received", (100_000, 0),
    ]  # fmt: skip


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_row_44_random_bytes_never_raise(data: Any, after_header: Any) -> None:
    two = server()
    two.feed((b"AMQP\x00\x01\x00\x00" if after_header else b"") + data)
    two.outbound()
    two.feed_eof()
    two.events()
    two.outbound()
    two.on_deadline(1.0)
    assert two.finished


@pytest.mark.parametrize("seed", range(30))
def test_row_44_damaged_conversations_never_raise(seed: int) -> None:
    """A real conversation with some bytes changed: one failure at most, and the engine can still be asked."""
    rng = random.Random(seed)
    one, two, near, _ = sender_pair()
    for _ in range(20):
        near.send(MESSAGE, message_format=rng.choice((0, BATCH_FORMAT)))
    wire = bytearray(one.outbound())
    for _ in range(rng.randint(1, 8)):
        wire[rng.randrange(len(wire))] = rng.randrange(256)
    two.feed(bytes(wire))
    events = two.events()
    for event in events:
        if isinstance(event, Received):
            event.delivery.accept()
    two.outbound()
    two.feed_eof()
    assert sum(isinstance(event, TransportFailed) for event in events + two.events()) <= 1
    two.outbound()
    assert two.finished


def test_engines_are_freed() -> None:
    """Cycles between handles and the engine are collected without touching freed memory."""
    import gc

    for _ in range(20):
        one, two, near, _far = sender_pair()
        near.send(MESSAGE)
        pump(one, two)
        events = two.events()
        del one, two
        events[0].delivery.accept()
        del events
    gc.collect()
