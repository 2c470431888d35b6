"""Publishes to a client that tell how they ended, through the core and a socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from edgehub import _core
from testkit.wire import CONNACK, PUBLISH, WAIT_S, WireClient, connect_packet, puback_packet

if TYPE_CHECKING:
    from collections.abc import Iterator

FILTER = "devices/leaf/messages/devicebound/#"
TOPIC = "devices/leaf/messages/devicebound/x=1"
SUBSCRIBED_MS = 1_700_000_000_000


@pytest.fixture
def engine() -> Iterator[_core.Engine]:
    engine = _core.Engine(edge_device_id="edge1", sync="none", io_threads=1)
    engine.start()
    yield engine
    engine.stop(1000)


def _events(engine: _core.Engine, kind: type, count: int) -> list[_core.Event]:
    """The next events of this kind; others are left out."""
    found: list[_core.Event] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{found} instead of {count} of {kind.__name__}"
        found += [event for event in engine.next_events() if isinstance(event, kind)]
        time.sleep(0.001)
    return found


def _outcomes(engine: _core.Engine, count: int) -> list[tuple[int, str]]:
    return [
        (event.token, event.outcome)
        for event in _events(engine, _core.SendDoneEvent, count)
        if isinstance(event, _core.SendDoneEvent)
    ]


def _client(engine: _core.Engine) -> tuple[WireClient, int]:
    """An accepted client that brings a subscription along, and its number."""
    _, port = engine.listen("127.0.0.1", 0)
    client = WireClient(port)
    client.send(connect_packet("leaf", "user", "password"))
    (event,) = _events(engine, _core.ConnectEvent, 1)
    assert isinstance(event, _core.ConnectEvent)
    grants = _core.Grants(device_id="leaf", telemetry_topics=["devices/leaf/messages/events"])
    engine.accept(event.conn, grants, session_present=True, subscriptions=[(FILTER, 1, SUBSCRIBED_MS)])
    client.expect(CONNACK)
    return client, event.conn


def test_every_send_with_a_token_ends_once(engine: _core.Engine) -> None:
    client, conn = _client(engine)
    engine.send(conn, TOPIC, b"to be acknowledged", 1, token=1, created_ms=SUBSCRIBED_MS)
    engine.send(conn, TOPIC, b"old", 1, token=2, created_ms=SUBSCRIBED_MS - 1)
    engine.send(conn, "elsewhere", b"", 1, token=3)
    engine.send(conn, TOPIC, b"not acknowledged by anybody", 0, token=2**64 - 1)
    engine.send(conn, TOPIC, b"nobody wants to know", 1)
    assert _outcomes(engine, 3) == [(2, "too_old"), (3, "no_subscription"), (2**64 - 1, "sent")]
    got = [client.expect(PUBLISH).message() for _ in range(3)]
    bodies = [b"to be acknowledged", b"not acknowledged by anybody", b"nobody wants to know"]
    assert [body for _, _, body in got] == bodies
    client.send(puback_packet(got[0][1]))
    assert _outcomes(engine, 1) == [(1, "acked")]
    client.socket.close()


def test_the_end_of_the_client_ends_its_sends(engine: _core.Engine) -> None:
    client, conn = _client(engine)
    for token in (1, 2):
        engine.send(conn, TOPIC, b"x", 1, token=token)
    client.expect(PUBLISH)
    client.socket.close()
    assert _outcomes(engine, 2) == [(1, "closed"), (2, "closed")]
    engine.send(conn, TOPIC, b"x", 1, token=3)
    assert _outcomes(engine, 1) == [(3, "closed")]
