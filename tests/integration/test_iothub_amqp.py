"""The hub's AMQP port over TLS: proton's own client, and clients that misbehave."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from typing import TYPE_CHECKING

import proton
import pytest
from proton import Message, SSLDomain
from proton.utils import BlockingConnection, LinkDetached

from edgehub.protocol.sas import build_token, device_audience
from iothub.config import HubConfig, HubLimits
from iothub.registry.model import parse_device
from iothub.server import HubServer
from iothub.telemetry.event import events_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "localhost"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    made = HubServer(HubConfig(tmp_path, HOST, "127.0.0.1", 0, 0, limits=HubLimits(connections_max=3)))
    await made.start()
    yield made
    await made.stop()


async def device_token(server: HubServer, device_id: str) -> str:
    device = await server.registry.put_device(parse_device(device_id, {}), None)
    audience = device_audience(HOST, device_id)
    return build_token(audience, int(time.time()) + 600, key=device.authentication.keys[0])


def connect(server: HubServer) -> BlockingConnection:
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(str(server.certificate.ca_file))
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
    url = f"amqps://{HOST}:{server.amqp_port}"
    return BlockingConnection(
        url, timeout=20, ssl_domain=domain, sasl_enabled=True, allowed_mechs="ANONYMOUS"
    )


def put_token(connection: BlockingConnection, token: str) -> int:
    requests = connection.create_sender("$cbs")
    answers = connection.create_receiver("$cbs", credit=5)
    properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "device"}
    requests.send(Message(id="1", reply_to="cbs", properties=properties, body=token))
    answer = answers.receive(timeout=20)
    assert answer.correlation_id == "1"
    assert answer.properties is not None
    return int(answer.properties["status-code"])


async def test_an_independent_client_sends_telemetry(server: HubServer) -> None:
    token = await device_token(server, "d1")

    def run() -> None:
        connection = connect(server)
        try:
            assert put_token(connection, token) == 200
            sender = connection.create_sender("/devices/d1/messages/events")
            for number in range(5):
                message = Message(body=b"%d" % number, inferred=True, id=f"m{number}", properties={"k": "v"})
                assert sender.send(message).remote_state == proton.Delivery.ACCEPTED
        finally:
            connection.close()

    await asyncio.to_thread(run)
    events = [event for chunk in await server.telemetry.read(0) for event in events_of(chunk)]
    assert [(event.body, event.system["message-id"]) for event in events] == [
        (b"%d" % number, f"m{number}") for number in range(5)
    ]
    assert events[0].properties == {"k": "v"}


async def test_an_independent_client_is_refused_without_token(server: HubServer) -> None:
    await device_token(server, "d1")

    def run() -> str:
        connection = connect(server)
        try:
            with pytest.raises(LinkDetached) as caught:
                connection.create_sender("/devices/d1/messages/events")
            return str(caught.value)
        finally:
            connection.close()

    assert "amqp:unauthorized-access" in await asyncio.to_thread(run)


async def open_raw(server: HubServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(server.certificate.ca_file))
    return await asyncio.open_connection("127.0.0.1", server.amqp_port, ssl=context, server_hostname=HOST)


@pytest.mark.parametrize("head", [b"", b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"])
async def test_row_44_random_bytes_close_the_connection_and_the_server_lives(
    server: HubServer, head: bytes
) -> None:
    token = await device_token(server, "d1")
    rng = random.Random(len(head))
    for _ in range(5):
        reader, writer = await open_raw(server)
        writer.write(head + b"\xff" + rng.randbytes(500))
        async with asyncio.timeout(20):
            while await reader.read(1000):
                pass
        writer.close()
    connection = await asyncio.to_thread(connect, server)
    assert await asyncio.to_thread(put_token, connection, token) == 200
    await asyncio.to_thread(connection.close)


async def test_plain_text_on_the_tls_port_is_dropped(server: HubServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.amqp_port)
    writer.write(b"AMQP\x00\x01\x00\x00" * 10)
    async with asyncio.timeout(20):
        with_answer = await reader.read(100)
    assert b"AMQP" not in with_answer
    writer.close()


async def test_connections_beyond_the_limit_are_closed_at_once(server: HubServer) -> None:
    opened = [await open_raw(server) for _ in range(3)]
    reader, writer = await open_raw(server)
    async with asyncio.timeout(20):
        assert await reader.read(10) == b""
    for _, end in [*opened, (reader, writer)]:
        end.close()


async def test_stopping_tells_the_clients(server: HubServer) -> None:
    reader, writer = await open_raw(server)
    writer.write(b"AMQP\x00\x01\x00\x00" + bytes.fromhex("0000001102000000005310c00401a10163"))
    async with asyncio.timeout(20):
        assert await reader.read(8) == b"AMQP\x00\x01\x00\x00"
        await server.stop()
        rest = await reader.read()
    assert b"amqp:connection:forced" in rest
    writer.close()
