"""One client cannot publish as another, subscribe for it, or see its twin (DEV-6, M-033, I-003)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from testkit.hub_process import EDGE, HubProcess, token, username
from testkit.wire import (
    PUBACK,
    PUBLISH,
    SUBACK,
    WireClient,
    puback_packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# What `leaf` sends goes to m; what anybody else seems to send, and all that n sends, to n.
INTO = "INTO BrokeredEndpoint('/modules/%s/inputs/i')"
ROUTES = {
    "leaf": f"FROM /messages/* WHERE $connectionDeviceId = 'leaf' {INTO % 'm'}",
    "others": f"FROM /messages/* WHERE $connectionDeviceId <> 'leaf' {INTO % 'n'}",
}
OWN = "devices/leaf/messages/events/"
TWIN_ANSWERS = "$iothub/twin/res/#"


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("hub")
    with HubProcess(folder, devices=["leaf", "other"], modules=["m", "n"], routes=ROUTES) as hub:
        yield hub


def subscribed(hub: HubProcess, identity: str, *filters: str) -> WireClient:
    client = hub.client(identity)
    for number, topic_filter in enumerate(filters, 1):
        client.send(subscribe_packet(topic_filter, number))
        client.expect(SUBACK)
    return client


def consumer(hub: HubProcess, module: str, *more: str) -> WireClient:
    return subscribed(hub, f"{EDGE}/{module}", f"devices/{EDGE}/modules/{module}/inputs/#", *more)


def take(client: WireClient) -> bytes:
    """Body of the next message."""
    _, packet_id, body = client.expect(PUBLISH).message()
    client.send(puback_packet(packet_id))
    return body


def twin_request(client: WireClient, topic: str, body: bytes = b"") -> tuple[str, Any]:
    """Topic and JSON of the answer."""
    client.send(publish_packet(topic, body, 9))
    found: list[tuple[str, Any]] = []
    acked = False
    while not (found and acked):
        packet = client.receive()
        assert packet is not None
        if packet.kind == PUBACK:
            acked = True
            continue
        name, packet_id, payload = packet.message()
        if packet_id:
            client.send(puback_packet(packet_id))
        found.append((name, json.loads(payload) if payload else None))
    return found[0]


FOREIGN_TOPICS = [
    "devices/other/messages/events/",
    f"devices/{EDGE}/messages/events/",
    f"devices/{EDGE}/modules/n/messages/events/",
    f"devices/{EDGE}/modules/n/messages/outputs/o/",
    f"devices/{EDGE}/modules/$edgeHub/messages/events/",
    "devices/leaf/modules/n/messages/events/",
    "devices/Leaf/messages/events/",
    "devices//messages/events/",
    "/devices/leaf/messages/events/",
    f"$edgehub/{EDGE}/n/messages/events/",
    f"devices/{EDGE}/modules/n/inputs/i",
    "devices/other/messages/devicebound/",
]


def test_dev_6_nobody_publishes_as_another(hub: HubProcess) -> None:
    with consumer(hub, "m") as m, consumer(hub, "n") as n:
        for number, topic in enumerate(FOREIGN_TOPICS):
            with hub.client("leaf") as leaf:
                leaf.send(publish_packet(topic, b"forged", 1))
                # Dropped and acknowledged, or the end of whoever tries; then the next.
                answer = leaf.receive()
                assert answer is None or (answer.kind, answer.acked) == (PUBACK, 1), topic
            with hub.client("leaf") as leaf:
                leaf.send(publish_packet(OWN, b"%d" % number, 2))
                assert leaf.expect(PUBACK).acked == 2
            assert take(m) == b"%d" % number, f"nothing of {topic} comes before"
        with hub.client("other") as other:
            other.send(publish_packet("devices/other/messages/events/", b"real", 1))
            assert take(n) == b"real", "and nothing before it"


@pytest.mark.parametrize(
    "bag",
    [
        "%24.cdid=other",
        "$.cdid=other&$.cmid=n",
        "iothub-connection-device-id=other",
        "deviceId=other&moduleId=n",
        "connectionDeviceId=other",
    ],
)
def test_dev_27_properties_do_not_change_who_sent_it(hub: HubProcess, bag: str) -> None:
    with consumer(hub, "m") as m, hub.client("leaf") as leaf:
        leaf.send(publish_packet(OWN + bag, b"x", 1))
        leaf.expect(PUBACK)
        topic, _, body = m.expect(PUBLISH).message()
        assert body == b"x"
        assert topic.count("%24.cdid=") == 1
        assert topic.endswith("%24.cdid=leaf")


def test_a_property_with_a_dollar_wins_in_a_condition_and_nowhere_else(hub: HubProcess) -> None:
    """As in the reference: conditions look for application properties first. The sender stays the sender."""
    with consumer(hub, "n") as n, hub.client("leaf") as leaf:
        leaf.send(publish_packet(OWN + "%24connectionDeviceId=other", b"x", 1))
        leaf.expect(PUBACK)
        assert n.expect(PUBLISH).message()[0].endswith("&%24.cdid=leaf")


def test_nobody_gets_the_messages_of_another(hub: HubProcess) -> None:
    wanted = [
        f"devices/{EDGE}/modules/n/inputs/#",
        f"devices/{EDGE}/modules/+/inputs/#",
        f"devices/{EDGE}/#",
        "devices/#",
        "+/+/+/+/inputs/#",
        "#",
        "$iothub/#",
        "devices/other/messages/devicebound/#",
    ]
    with consumer(hub, "m", *wanted) as m, subscribed(hub, "leaf", *wanted) as spy:
        with hub.client("other") as other:
            for number in range(3):
                other.send(publish_packet("devices/other/messages/events/", b"for n", number + 1))
                other.expect(PUBACK)
        with consumer(hub, "n") as n:
            assert [take(n) for _ in range(3)] == [b"for n"] * 3
        with hub.client("leaf", clean=True) as leaf:
            leaf.send(publish_packet(OWN, b"for m", 1))
            leaf.expect(PUBACK)
        assert take(m) == b"for m", "and nothing before it"
        spy.expect_closed()  # taken over by the same device, without a message before


def test_nobody_sees_or_changes_the_twin_of_another(hub: HubProcess) -> None:
    reported = "$iothub/twin/PATCH/properties/reported/?$rid="
    with subscribed(hub, "leaf", TWIN_ANSWERS) as leaf, subscribed(hub, "other", TWIN_ANSWERS) as other:
        topic, _ = twin_request(leaf, reported + "1", b'{"secret":"of leaf"}')
        assert topic.startswith("$iothub/twin/res/204/?$rid=1")
        for number, extra in enumerate(["", "&deviceId=leaf", "&$.cdid=leaf", "&device=leaf"]):
            topic, twin = twin_request(other, f"$iothub/twin/GET/?$rid={number}{extra}")
            assert topic.startswith("$iothub/twin/res/200/")
            assert "of leaf" not in json.dumps(twin)
        twin_request(other, reported + "2&deviceId=leaf", b'{"secret":"of other"}')
        _, twin = twin_request(leaf, "$iothub/twin/GET/?$rid=3")
        assert twin["reported"]["secret"] == "of leaf"
    forged = [
        "$edgehub/leaf/twin/get/?$rid=1",
        "$iothub/twin/GET/leaf/?$rid=1",
        "$iothub/leaf/twin/GET/?$rid=1",
        "$iothub/twin/res/200/?$rid=1",
    ]
    with subscribed(hub, "leaf", TWIN_ANSWERS) as leaf:
        for topic in forged:
            with subscribed(hub, "other", TWIN_ANSWERS, "$edgehub/#") as other:
                other.send(publish_packet(topic, b'{"secret":"of other"}', 5))
                answer = other.receive()
                while answer is not None and answer.kind != PUBACK:
                    assert b"of leaf" not in answer.body
                    answer = other.receive()
        _, twin = twin_request(leaf, "$iothub/twin/GET/?$rid=4")
        assert twin["reported"]["secret"] == "of leaf"


@pytest.mark.parametrize(
    ("client_id", "name", "signer"),
    [
        ("other", "other", "leaf"),
        ("other", "leaf", "leaf"),
        ("leaf", "other", "leaf"),
        ("LEAF", "LEAF", "leaf"),
        ("leaf/m", "leaf/m", "leaf"),
        (f"{EDGE}/m", f"{EDGE}/m", "leaf"),
        (f"{EDGE}/m", f"{EDGE}/m", f"{EDGE}/n"),
        (EDGE, EDGE, f"{EDGE}/m"),
        (f"{EDGE}/$edgeHub", f"{EDGE}/$edgeHub", f"{EDGE}/m"),
    ],
)
def test_nobody_connects_as_another(hub: HubProcess, client_id: str, name: str, signer: str) -> None:
    """All of them have the same key in this hub, so only the names tell them apart."""
    with WireClient(hub.plain_port) as client:
        assert client.connect(client_id, username(name), token(signer)) == 5


def test_dev_2_nobody_speaks_for_another_by_a_chain(hub: HubProcess) -> None:
    for chain in ("leaf;other", f"leaf;{EDGE}", "leaf;leaf", "other;leaf"):
        with WireClient(hub.plain_port) as client:
            name = f"{username('leaf')}&auth-chain={chain}"
            assert client.connect("leaf", name, token("other")) == 5
