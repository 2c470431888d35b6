"""Requests of clients on control topics, through a hub of its own process."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from testkit.hub_process import HubProcess
from testkit.wire import (
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    WAIT_S,
    field,
    packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TELEMETRY = "devices/leaf/messages/events/"
ROUTES = {"in": 'FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")'}
PING = packet(12, b"")
FLOOD = 1000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("hub")
    with HubProcess(folder, devices=["leaf"], modules=["m"], routes=ROUTES) as hub:
        yield hub


def _request(topic: str) -> bytes:
    """PUBLISH with QoS 0."""
    return packet(PUBLISH, field(topic))


def test_m_058_m_062_a_flood_of_requests_keeps_the_connection(hub: HubProcess) -> None:
    client = hub.client("leaf")
    flood = b"".join(_request(f"$iothub/methods/res/200/?$rid={number}") for number in range(FLOOD))
    client.send(flood + PING + publish_packet(TELEMETRY, b"x", 7))
    # The ping does not wait for the requests, the message does.
    assert client.expect(PINGRESP)
    assert client.expect(PUBACK).acked == 7
    client.send(PING)
    assert client.expect(PINGRESP)
    client.socket.close()


def test_requests_sent_at_once_are_all_answered_in_order(hub: HubProcess) -> None:
    client = hub.client("leaf")
    client.send(subscribe_packet("$iothub/twin/res/#"))
    client.expect(SUBACK)
    client.send(b"".join(_request(f"$iothub/twin/GET/?$rid={number}") for number in range(FLOOD // 10)))
    for number in range(FLOOD // 10):
        assert client.expect(PUBLISH).message()[0] == f"$iothub/twin/res/200/?$rid={number}"
    client.socket.close()


def test_m_061_a_ping_among_requests_and_telemetry_is_answered(hub: HubProcess) -> None:
    client = hub.client("leaf")
    get = publish_packet("$iothub/twin/GET/?$rid=1", b" ", 1)
    for byte in get + publish_packet(TELEMETRY, b"x", 2) + PING:
        client.send(bytes([byte]))
    got = [client.receive() for _ in range(3)]
    assert sorted(one.kind for one in got if one is not None) == [PUBACK, PUBACK, PINGRESP]
    client.socket.close()


def _gauge(hub: HubProcess, name: str) -> float:
    found = re.search(rf"^edgehub_{name}(?:{{.*}})? (\S+)$", hub.metrics(), re.MULTILINE)
    assert found, name
    return float(found[1])


def test_connections_without_session_are_on_the_metrics_page(hub: HubProcess) -> None:
    before = _gauge(hub, "connections_unauthenticated")
    silent = [socket.create_connection(("127.0.0.1", hub.plain_port)) for _ in range(3)]
    _wait_for(hub, before + 3)
    client = hub.client("leaf")
    _wait_for(hub, before + 3)
    for connection in silent:
        connection.close()
    _wait_for(hub, before)
    client.socket.close()


def _wait_for(hub: HubProcess, count: float) -> None:
    deadline = time.monotonic() + WAIT_S
    while (found := _gauge(hub, "connections_unauthenticated")) != count:
        assert time.monotonic() < deadline, f"{found} connections instead of {count}"
        time.sleep(0.05)
