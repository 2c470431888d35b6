"""iothub's MQTT endpoint, over TCP and over WebSocket, with the unmodified SDK and with clients of bare hands
(rows 47 to 64). A device that connects here is one that would connect to a gateway, but for the host name."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from iothub.config import HubConfig
from iothub.methods.service import parse_invocation
from iothub.registry.model import parse_device
from iothub.server import HubServer
from testkit.iothub_devices import (
    HOST,
    OTHER_KEY,
    SAS,
    WAIT_S,
    SdkClient,
    authority,
    connected,
    events,
    opened,
    register,
    serving,
    set_desired,
    token,
    until,
    username,
)
from testkit.wire import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    PacketReader,
    WireClient,
    connect_packet,
    field,
    packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVENTS = "devices/d1/messages/events/"
# The SDK asks for a version of TLS in a way that Python has grown out of, and leaves sockets open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    async with serving(tmp_path) as made:
        await register(made)
        yield made


@pytest.fixture
def ca_file(server: HubServer) -> Path:
    return authority(server)


@pytest.fixture(params=["tcp", "websocket"])
def websockets(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "websocket")


async def test_telemetry_with_its_properties(server: HubServer, websockets: bool) -> None:
    from azure.iot.device import Message

    make: Any = Message
    async with SdkClient(authority(server), websockets=websockets) as device:
        message = make(
            '{"t": 21.5}', message_id="m1", content_encoding="utf-8", content_type="application/json"
        )
        message.correlation_id = "c1"
        message.custom_properties = {"alert": "true", "place": "a/b c", "größe": "ü%2F=&", "empty": ""}
        await device.sdk.send_message(message)
        for number in range(20):
            await device.sdk.send_message(str(number))
    first, *others = await events(server, 21)
    assert first.properties == {"alert": "true", "place": "a/b c", "größe": "ü%2F=&", "empty": ""}
    assert first.body == b'{"t": 21.5}'
    wanted = {"message-id": "m1", "correlation-id": "c1", "content-type": "application/json"}
    assert wanted.items() <= first.system.items()
    identity = await server.registry.identity("d1", None)
    assert identity is not None
    origin = first.origin
    assert (origin.device_id, origin.module_id, origin.auth_type) == ("d1", None, "sas")
    assert origin.generation_id == identity.generation_id
    assert [event.body for event in others] == [str(number).encode() for number in range(20)]


async def test_a_module(server: HubServer, websockets: bool) -> None:
    async with SdkClient(authority(server), websockets=websockets, module="m") as module:
        await module.sdk.send_message_to_output("from the module", "out")
        await module.sdk.patch_twin_reported_properties({"a": 1})
        assert (await module.sdk.get_twin())["reported"] == {"a": 1, "$version": 2}
    (event,) = await events(server, 1)
    assert (event.origin.device_id, event.origin.module_id, event.body) == ("d1", "m", b"from the module")


async def test_twins(server: HubServer, websockets: bool) -> None:
    await set_desired(server, {"interval": 5})
    async with SdkClient(authority(server), websockets=websockets) as device:
        twin = await device.sdk.get_twin()
        assert twin == {"desired": {"interval": 5, "$version": 2}, "reported": {"$version": 1}}
        await device.sdk.patch_twin_reported_properties({"interval": 5, "state": {"on": True}})
        await device.sdk.patch_twin_reported_properties({"state": None})
        reported = (await server.twins.get("d1", None)).reported
        assert (reported.values, reported.version) == ({"interval": 5}, 3)
        await device.follow()
        await set_desired(server, {"interval": 6, "gone": None})
        assert await device.patch() == {"interval": 6, "gone": None, "$version": 3}
        await set_desired(server, {"last": {"a": [1]}})
        assert await device.patch() == {"last": {"a": [1]}, "$version": 4}


async def test_methods(server: HubServer, websockets: bool) -> None:
    methods = server.amqp.methods
    async with SdkClient(authority(server), websockets=websockets) as device:
        await device.answer_methods()
        for payload in ({"delay": [1, None]}, "text", None):
            body = {"methodName": "reset", "payload": payload}
            request = parse_invocation(json.dumps(body).encode())
            answer = await methods.invoke(("d1", None), request)
            assert answer.status == 207
            assert json.loads(answer.payload) == {"method": "reset", "payload": payload}


async def test_row_55_the_newest_connection_wins(server: HubServer, websockets: bool) -> None:
    async with SdkClient(authority(server), websockets=websockets, connection_retry=False) as older:
        async with SdkClient(authority(server), websockets=not websockets, connection_retry=False) as newer:
            await until(lambda: not older.sdk.connected)
            await newer.sdk.send_message("x")
            assert newer.sdk.connected
            assert server.amqp.connections.is_connected("d1", None)
        await until(lambda: not server.amqp.connections.is_connected("d1", None))


async def test_a_disabled_device_is_cut_off_and_kept_out(server: HubServer, websockets: bool) -> None:
    from azure.iot.device.exceptions import ConnectionFailedError, CredentialError

    async with SdkClient(authority(server), websockets=websockets, connection_retry=False) as device:
        disabled = parse_device("d1", {**SAS, "status": "disabled"})
        await server.registry.put_device(disabled, "*")
        await until(lambda: not device.sdk.connected)
        with pytest.raises((CredentialError, ConnectionFailedError)):
            await device.sdk.connect()
        assert not server.amqp.connections.is_connected("d1", None)


# Clients of bare hands


async def test_rows_47_and_48_who_is_let_in(server: HubServer, ca_file: Path) -> None:
    def answer(name: str, password: str) -> int:
        with opened(ca_file) as client:
            return client.connect("d1", name, password)

    def run() -> list[int]:
        good = token("d1")
        return [
            answer(f"{HOST}/d1", good),
            answer(f"{HOST}/d1/api-version=2016-11-14", good),
            answer(username("d1"), token("d1", OTHER_KEY)),
            answer(username("d1"), token("d1", "AAAA")),
            answer(username("d1"), token("d1", life_s=-400)),
            answer(username("d1"), token("d2")),
        ]

    assert await asyncio.to_thread(run) == [0, 0, 0, 5, 5, 5]


async def test_row_49_other_versions(server: HubServer, ca_file: Path) -> None:
    """MQTT 3.1 has a name of its own, which gets no answer, as at a gateway (M-004)."""

    def run() -> None:
        for level in (3, 5):
            with opened(ca_file) as client:
                assert client.connect("d1", username("d1"), token("d1"), level=level) == 1
                client.expect_closed()
        with opened(ca_file) as client:
            client.send(packet(1, field("MQIsdp") + b"\x03\x02\x00\x3c" + field("d1")))
            client.expect_closed()

    await asyncio.to_thread(run)


async def test_rows_50_and_60_what_ends_a_connection(server: HubServer, ca_file: Path) -> None:
    def run() -> None:
        with connected(ca_file) as client:
            client.send(packet(PUBLISH, field(EVENTS) + b"\x00\x01twice", 4))
            client.expect_closed()
        for topic in (
            "devices/d2/messages/events/",
            "devices/d1/modules/m/messages/events/",
            "elsewhere",
            f"{EVENTS}k=v&=",
        ):
            with connected(ca_file) as client:
                client.send(publish_packet(topic, b"stolen", 1))
                client.expect_closed()
        with connected(ca_file, "d2") as client:
            client.send(publish_packet("devices/d2/messages/events/", b"own", 1))
            assert client.expect(PUBACK).acked == 1

    await asyncio.to_thread(run)
    assert [event.body for event in await events(server, 1)] == [b"own"]


async def test_whatever_fits_a_packet_is_stored(server: HubServer, ca_file: Path) -> None:
    """256 KiB, topic and payload counted (section 1.5.3)."""
    body = bytes(262_144 - len(field(EVENTS)) - 2)

    def run() -> None:
        with connected(ca_file) as client:
            client.send(publish_packet(EVENTS, body, 1))
            assert client.expect(PUBACK).acked == 1

    await asyncio.to_thread(run)
    assert [event.body for event in await events(server, 1)] == [body]


async def test_row_51_filters(server: HubServer, ca_file: Path) -> None:
    def run() -> list[int]:
        with connected(ca_file) as client:
            codes = []
            for topic_filter in (
                "$iothub/twin/res/#",
                "devices/d1/messages/devicebound/#",
                "devices/d2/messages/devicebound/#",
                "#",
            ):
                client.send(packet(8, b"\x00\x01" + field(topic_filter) + b"\x02", 2))
                codes.append(client.expect(SUBACK).body[2])
            return codes

    assert await asyncio.to_thread(run) == [1, 1, 0x80, 0x80]


async def test_rows_52_53_and_56_flags_will_and_bag(server: HubServer, ca_file: Path) -> None:
    bag = "k=%C3%BC%2F%20%26&empty=&bare&%24.mid=m1"

    def run() -> None:
        with connected(ca_file) as client:
            client.send(packet(PUBLISH, field(EVENTS + bag) + b"\x00\x01retained", 2 | 1))
            assert client.expect(PUBACK).acked == 1
        with opened(ca_file) as client:
            will = (EVENTS, b"last words")
            client.send(connect_packet("d1", username("d1"), token("d1"), will=will))
            assert client.expect(CONNACK).code == 0

    await asyncio.to_thread(run)
    retained, will = await events(server, 2)
    assert retained.properties == {"k": "ü/ &", "empty": "", "bare": None, "mqtt-retain": "true"}
    assert retained.system["message-id"] == "m1"
    assert (will.body, will.properties) == (b"last words", {"iothub-MessageType": "Will"})


async def test_a_session_lives_on(server: HubServer, ca_file: Path) -> None:
    def first() -> None:
        with connected(ca_file, clean=False) as client:
            client.send(subscribe_packet("$iothub/twin/PATCH/properties/desired/#"))
            assert client.expect(SUBACK).body[2] == 1

    def second() -> WireClient:
        client = opened(ca_file)
        assert client.connect("d1", username("d1"), token("d1"), clean=False) == 0
        assert client.session_present
        return client

    await asyncio.to_thread(first)
    client = await asyncio.to_thread(second)
    await set_desired(server, {"a": 1})
    topic, _, body = (await asyncio.to_thread(client.expect, PUBLISH)).message()
    client.socket.close()
    assert (topic, body) == (
        "$iothub/twin/PATCH/properties/desired/?$version=2",
        b'{"a":1,"$version":2}',
    )


@pytest.mark.parametrize("path", ["/$iothub/websocket", "/%24iothub/websocket", "/%24iothub/websocket?x=y"])
async def test_row_62_paths_of_websockets(server: HubServer, path: str) -> None:
    context = ssl.create_default_context(cafile=str(server.certificate.ca_file))
    url = URL(f"https://{HOST}:{server.https_port}{path}", encoded=True)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.ws_connect(url, protocols=("mqtt",)) as websocket:
            assert websocket.protocol == "mqtt"
            await websocket.send_bytes(connect_packet("d1", username("d1"), token("d1")))
            packets = PacketReader()
            packets.feed(await websocket.receive_bytes(timeout=WAIT_S))
            found = packets.take()
            assert found is not None
            assert (found.kind, found.code) == (CONNACK, 0)
        elsewhere = URL(f"https://{HOST}:{server.https_port}/other", encoded=True)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(elsewhere, protocols=("mqtt",))
        assert refused.value.status == 404
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, protocols=("other",))
        assert refused.value.status == 400
    # The end of a TLS connection takes the loop some more turns.
    await asyncio.sleep(0.05)


async def test_a_port_that_is_taken_is_told(server: HubServer, tmp_path: Path) -> None:
    other = HubServer(HubConfig(tmp_path / "other", HOST, HOST, 0, 0, mqtt_port=server.mqtt_port))
    with pytest.raises(Exception, match=r"MQTT: .*8883"):
        await other.start()
    assert other.mqtt is None
