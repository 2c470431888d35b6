"""Deliveries to modules as their clients and the metrics of a real hub show them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from testkit.hub_process import EDGE, HubProcess
from testkit.wire import PUBACK, PUBLISH, SUBACK, WireClient, puback_packet, publish_packet, subscribe_packet

if TYPE_CHECKING:
    from pathlib import Path

DUP = 8
TOPIC = "devices/leaf/messages/events/"
STUCK, QUICK, ODD = "stuck", "quick", "o:d$d"
ROUTES = {
    name: f'FROM /messages/* INTO BrokeredEndpoint("/modules/{name}/inputs/i")' for name in (STUCK, QUICK)
}


def consumer(hub: HubProcess, module: str) -> WireClient:
    client = hub.client(f"{EDGE}/{module}")
    client.send(subscribe_packet(f"devices/{EDGE}/modules/{module}/inputs/#"))
    client.expect(SUBACK)
    return client


def publish(client: WireClient, bodies: range, bag: str = "") -> None:
    """Sends a message for each number, each acknowledged before the next."""
    for number in bodies:
        client.send(publish_packet(TOPIC + bag, b"%d" % number, number + 1))
        assert client.expect(PUBACK).acked == number + 1


def take(client: WireClient, *, acknowledge: bool = True) -> tuple[str, int, bool]:
    """Topic, number and DUP of the next message."""
    got = client.expect(PUBLISH)
    topic, packet_id, body = got.message()
    if acknowledge:
        client.send(puback_packet(packet_id))
    return topic, int(body), bool(got.flags & DUP)


def lag(hub: HubProcess, route: str) -> dict[str, float]:
    """Messages, bytes and seconds that wait for the consumer of a route."""
    text = hub.metrics()
    found = re.findall(rf'^edgehub_route_lag_(\w+){{.*route="{route}".*}} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_a_stuck_module_lags_alone_and_gets_its_messages_with_dup_from_the_next_hub(tmp_path: Path) -> None:
    with HubProcess(tmp_path, devices=["leaf"], modules=[STUCK, QUICK], routes=ROUTES) as hub:
        with hub.client("leaf") as leaf, consumer(hub, STUCK) as stuck, consumer(hub, QUICK) as quick:
            publish(leaf, range(50))
            assert [take(quick)[1:] for _ in range(50)] == [(number, False) for number in range(50)]
            assert take(stuck, acknowledge=False)[1:] == (0, False)
            behind = lag(hub, STUCK)
            assert behind["messages"] == 50
            assert behind["bytes"] > 50
            while lag(hub, QUICK)["messages"]:
                pass  # its last acknowledgement is on its way
            assert lag(hub, QUICK) == {"messages": 0, "bytes": 0, "seconds": 0}
            while lag(hub, STUCK)["seconds"] < 1:
                assert lag(hub, QUICK)["seconds"] == 0
        hub.kill()
        hub.start()
        after = lag(hub, STUCK)
        assert (after["messages"], after["bytes"]) == (50, behind["bytes"])
        assert after["seconds"] >= 1
        with hub.client("leaf") as leaf, consumer(hub, STUCK) as stuck:
            publish(leaf, range(50, 51))
            assert [take(stuck)[1:] for _ in range(51)] == [(number, number < 50) for number in range(51)]


def test_the_message_settings(tmp_path: Path) -> None:
    settings = {
        "mqttSettings__RetainPropertyName": "kept",
        "mqttSettings__QoSPropertyName": "q",
        "mqttSettings__DeviceReceiveAckTimeout": "00:00:01",
        "mqttSettings__MaxOutboundRetransmissionCount": "1",
    }
    routes = {QUICK: ROUTES[QUICK]}
    with (
        HubProcess(tmp_path, devices=["leaf"], modules=[QUICK], routes=routes, settings=settings) as hub,
        hub.client("leaf") as leaf,
        consumer(hub, QUICK) as quick,
    ):
        publish(leaf, range(1), bag="q=0")
        got = quick.expect(PUBLISH)
        assert (got.flags, got.message()[2]) == (0, b"0")
        retained = publish_packet(TOPIC, b"1", 2)[1:]
        leaf.send(bytes([PUBLISH << 4 | 2 | 1]) + retained)
        leaf.expect(PUBACK)
        topic = f"devices/{EDGE}/modules/{QUICK}/inputs/i/kept=true&%24.cdid=leaf"
        assert take(quick, acknowledge=False) == (topic, 1, False)
        # After a second, and one more of waiting, once again; then not any more.
        assert take(quick, acknowledge=False) == (topic, 1, True)
        quick.expect_closed()
        with consumer(hub, QUICK) as again:
            assert take(again) == (topic, 1, True)


@pytest.mark.parametrize("spelled", [ODD, quote(ODD, safe="")])
def test_a_module_gets_its_messages_in_the_spelling_of_its_filter(tmp_path: Path, spelled: str) -> None:
    routes = {"odd": f'FROM /messages/* INTO BrokeredEndpoint("/modules/{ODD}/inputs/i")'}
    with (
        HubProcess(tmp_path, devices=["leaf"], modules=[ODD], routes=routes) as hub,
        hub.client("leaf") as leaf,
        hub.client(f"{EDGE}/{ODD}") as module,
    ):
        module.send(subscribe_packet(f"devices/{EDGE}/modules/{spelled}/inputs/#"))
        module.expect(SUBACK)
        publish(leaf, range(1))
        assert take(module) == (f"devices/{EDGE}/modules/{spelled}/inputs/i/%24.cdid=leaf", 0, False)
