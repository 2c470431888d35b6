"""iothub's MQTT endpoint, over TCP and over WebSocket, with the unmodified SDK and with clients of bare hands
(rows 47 to 64). A device that connects here is one that would connect to a gateway, but for the host name."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import time
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from yarl import URL

from edgehub.protocol.sas import build_token, device_audience
from iothub.config import HubConfig
from iothub.methods.service import parse_invocation
from iothub.registry.model import parse_device, parse_module
from iothub.server import HubServer
from iothub.telemetry.event import Event, events_of
from iothub.twins.model import parse_twin_request
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
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

HOST = "127.0.0.41"
"""SDKs know one port of MQTT and one of HTTPS alone, so this hub has an address of its own."""
WAIT_S = 30.0
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()
SAS = {"authentication": {"symmetricKey": {"primaryKey": KEY, "secondaryKey": OTHER_KEY}}}
EVENTS = "devices/d1/messages/events/"
# The SDK asks for a version of TLS in a way that Python has grown out of.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning")


async def start(folder: Path) -> HubServer:
    server = HubServer(HubConfig(folder, HOST, HOST, 0, 443, mqtt_port=8883))
    await server.start()
    return server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    made = await start(tmp_path)
    for device_id in ("d1", "d2"):
        await made.registry.put_device(parse_device(device_id, SAS), None)
    await made.registry.put_module(parse_module("d1", "m", SAS), None)
    yield made
    await made.stop()


@pytest.fixture(params=["tcp", "websocket"])
def websockets(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "websocket")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - it comes from another thread
            await asyncio.sleep(0.01)


async def events(server: HubServer, count: int) -> list[Event]:
    """The log once it has so many events."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = [event for chunk in await server.telemetry.read(0) for event in events_of(chunk)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


async def set_desired(server: HubServer, desired: dict[str, Any]) -> None:
    request = parse_twin_request({"properties": {"desired": desired}})
    await server.twins.patch("d1", None, request, None)


class SdkClient:
    """A client of the SDK that keeps the desired patches it gets and answers methods."""

    def __init__(self, server: HubServer, *, websockets: bool, module: str = "", **options: Any) -> None:
        # Untyped, and slow to import: only here.
        from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

        kind: Any = IoTHubModuleClient if module else IoTHubDeviceClient
        names = "DeviceId=d1" + (f";ModuleId={module}" if module else "")
        assert server.certificate.ca_file is not None
        self.sdk: Any = kind.create_from_connection_string(
            f"HostName={HOST};{names};SharedAccessKey={KEY}",
            server_verification_cert=server.certificate.ca_file.read_text(),
            websockets=websockets,
            connection_retry_interval=1,
            **options,
        )
        self.patches: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        await self.sdk.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sdk.shutdown()

    async def follow(self) -> None:
        """Subscribes to desired patches."""
        loop = asyncio.get_running_loop()

        async def received(patch: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self.patches.append, patch)

        self.sdk.on_twin_desired_properties_patch_received = received

    async def patch(self) -> dict[str, Any]:
        """The next desired patch."""
        await until(lambda: bool(self.patches))
        return self.patches.pop(0)

    async def answer_methods(self) -> None:
        from azure.iot.device import MethodResponse

        answer_to: Any = MethodResponse.create_from_method_request

        async def called(request: Any) -> None:
            payload = {"method": request.name, "payload": request.payload}
            await self.sdk.send_method_response(answer_to(request, 207, payload))

        self.sdk.on_method_request_received = called


async def test_telemetry_with_its_properties(server: HubServer, websockets: bool) -> None:
    from azure.iot.device import Message

    make: Any = Message
    async with SdkClient(server, websockets=websockets) as device:
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
    async with SdkClient(server, websockets=websockets, module="m") as module:
        await module.sdk.send_message_to_output("from the module", "out")
        await module.sdk.patch_twin_reported_properties({"a": 1})
        assert (await module.sdk.get_twin())["reported"] == {"a": 1, "$version": 2}
    (event,) = await events(server, 1)
    assert (event.origin.device_id, event.origin.module_id, event.body) == ("d1", "m", b"from the module")


async def test_twins(server: HubServer, websockets: bool) -> None:
    await set_desired(server, {"interval": 5})
    async with SdkClient(server, websockets=websockets) as device:
        twin = await device.sdk.get_twin()
        assert twin == {"desired": {"interval": 5, "$version": 2}, "reported": {"$version": 1}}
        await device.sdk.patch_twin_reported_properties({"interval": 5, "state": {"on": True}})
        await device.sdk.patch_twin_reported_properties({"state": None})
        reported = (await server.twins.get("d1", None)).reported
        assert (reported.values, reported.version) == ({"interval": 5}, 3)
        await device.follow()
        # Its subscription is on its way: the first change may come too early for it.
        async with asyncio.timeout(WAIT_S):
            while not device.patches:
                await set_desired(server, {"interval": 6, "gone": None})
                await asyncio.sleep(0.2)
        device.patches.clear()
        await set_desired(server, {"last": {"a": [1]}})
        while "last" not in (patch := await device.patch()):
            pass
        version = (await server.twins.get("d1", None)).desired.version
        assert patch == {"last": {"a": [1]}, "$version": version}


async def test_methods(server: HubServer, websockets: bool) -> None:
    methods = server.amqp.methods
    async with SdkClient(server, websockets=websockets) as device:
        await device.answer_methods()
        for payload in ({"delay": [1, None]}, "text", None):
            body = {"methodName": "reset", "payload": payload, "connectTimeoutInSeconds": 20}
            request = parse_invocation(json.dumps(body).encode())
            answer = await methods.invoke(("d1", None), request)
            assert answer.status == 207
            assert json.loads(answer.payload) == {"method": "reset", "payload": payload}


async def test_a_restart_of_the_hub(server: HubServer, tmp_path: Path, websockets: bool) -> None:
    """The client comes back by itself, and does not subscribe again: its session is here."""
    async with SdkClient(server, websockets=websockets) as device:
        await device.follow()
        await device.sdk.send_message("before")
        await events(server, 1)
        await server.stop()
        await until(lambda: not device.sdk.connected)
        again = await start(tmp_path)
        try:
            await until(lambda: bool(device.sdk.connected))
            await device.sdk.send_message("after")
            assert [event.body for event in await events(again, 2)] == [b"before", b"after"]
            await set_desired(again, {"a": 1})
            assert (await device.patch())["a"] == 1
        finally:
            await device.sdk.shutdown()
            await again.stop()


async def test_row_55_the_newest_connection_wins(server: HubServer, websockets: bool) -> None:
    async with SdkClient(server, websockets=websockets, connection_retry=False) as older:
        async with SdkClient(server, websockets=not websockets, connection_retry=False) as newer:
            await until(lambda: not older.sdk.connected)
            await newer.sdk.send_message("x")
            assert newer.sdk.connected
            assert server.amqp.connections.is_connected("d1", None)
        await until(lambda: not server.amqp.connections.is_connected("d1", None))


async def test_a_disabled_device_is_cut_off_and_kept_out(server: HubServer, websockets: bool) -> None:
    from azure.iot.device.exceptions import ConnectionFailedError, CredentialError

    async with SdkClient(server, websockets=websockets, connection_retry=False) as device:
        disabled = parse_device("d1", {**SAS, "status": "disabled"})
        await server.registry.put_device(disabled, "*")
        await until(lambda: not device.sdk.connected)
        with pytest.raises((CredentialError, ConnectionFailedError)):
            await device.sdk.connect()
        assert not server.amqp.connections.is_connected("d1", None)


# Clients of bare hands


def token(device_id: str, key: str = KEY, life_s: float = 600) -> str:
    return build_token(device_audience(HOST, device_id), int(time.time() + life_s), key=key)


def username(device_id: str) -> str:
    return f"{HOST}/{device_id}/?api-version=2021-04-12"


def opened(server: HubServer) -> WireClient:
    return WireClient(server.mqtt_port, host=HOST, ca=server.certificate.ca_file)


@contextlib.contextmanager
def connected(server: HubServer, device_id: str = "d1", **options: Any) -> Any:
    with opened(server) as client:
        assert client.connect(device_id, username(device_id), token(device_id), **options) == 0
        yield client


async def test_rows_47_and_48_who_is_let_in(server: HubServer) -> None:
    def answer(name: str, password: str) -> int:
        with opened(server) as client:
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


async def test_row_49_other_versions(server: HubServer) -> None:
    """MQTT 3.1 has a name of its own, which gets no answer, as at a gateway (M-004)."""

    def run() -> None:
        for level in (3, 5):
            with opened(server) as client:
                assert client.connect("d1", username("d1"), token("d1"), level=level) == 1
                client.expect_closed()
        with opened(server) as client:
            client.send(packet(1, field("MQIsdp") + b"\x03\x02\x00\x3c" + field("d1")))
            client.expect_closed()

    await asyncio.to_thread(run)


async def test_rows_50_and_60_what_ends_a_connection(server: HubServer) -> None:
    def run() -> None:
        with connected(server) as client:
            client.send(packet(PUBLISH, field(EVENTS) + b"\x00\x01twice", 4))
            client.expect_closed()
        for topic in ("devices/d2/messages/events/", "devices/d1/modules/m/messages/events/", "elsewhere"):
            with connected(server) as client:
                client.send(publish_packet(topic, b"stolen", 1))
                while client.receive() is not None:
                    pass
        with connected(server, "d2") as client:
            client.send(publish_packet("devices/d2/messages/events/", b"own", 1))
            assert client.expect(PUBACK).acked == 1

    await asyncio.to_thread(run)
    assert [event.body for event in await events(server, 1)] == [b"own"]


async def test_row_51_filters(server: HubServer) -> None:
    def run() -> list[int]:
        with connected(server) as client:
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


async def test_rows_52_53_and_56_flags_will_and_bag(server: HubServer) -> None:
    bag = "k=%C3%BC%2F%20%26&empty=&bare&%24.mid=m1"

    def run() -> None:
        with connected(server) as client:
            client.send(packet(PUBLISH, field(EVENTS + bag) + b"\x00\x01retained", 2 | 1))
            assert client.expect(PUBACK).acked == 1
        with opened(server) as client:
            will = (EVENTS, b"last words")
            client.send(connect_packet("d1", username("d1"), token("d1"), will=will))
            assert client.expect(CONNACK).code == 0

    await asyncio.to_thread(run)
    retained, will = await events(server, 2)
    assert retained.properties == {"k": "ü/ &", "empty": "", "bare": None, "mqtt-retain": "true"}
    assert retained.system["message-id"] == "m1"
    assert (will.body, will.properties) == (b"last words", {"iothub-MessageType": "Will"})


async def test_a_session_lives_on(server: HubServer) -> None:
    def first() -> None:
        with connected(server, clean=False) as client:
            client.send(subscribe_packet("$iothub/twin/PATCH/properties/desired/#"))
            assert client.expect(SUBACK).body[2] == 1

    def second() -> WireClient:
        client = opened(server)
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


async def test_what_was_acknowledged_before_a_stop_is_in_the_log_after_it(
    server: HubServer, tmp_path: Path
) -> None:
    """The log takes nothing any more; the messages wait in the engine's store."""
    server.telemetry._set_full(True)

    def run() -> None:
        with connected(server) as client:
            for number in range(1, 11):
                client.send(publish_packet(EVENTS, b"%d" % number, number))
                assert client.expect(PUBACK).acked == number

    await asyncio.to_thread(run)
    assert await events(server, 0) == []
    await server.stop()
    again = await start(tmp_path)
    try:
        bodies = [event.body for event in await events(again, 10)]
    finally:
        await again.stop()
    assert bodies == [b"%d" % number for number in range(1, 11)]


async def test_a_port_that_is_taken_is_told(server: HubServer, tmp_path: Path) -> None:
    other = HubServer(HubConfig(tmp_path / "other", HOST, HOST, 0, 0, mqtt_port=server.mqtt_port))
    with pytest.raises(Exception, match=r"MQTT: .*8883"):
        await other.start()
    assert other.mqtt is None
