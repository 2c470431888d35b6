"""Cloud-to-device messages through a whole system to unmodified SDK clients, over cuts, kills and takeovers.

`iothub c2d send` -> iothub -> relay -> hub -> device SDK.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import (
    CONNACK,
    PUBLISH,
    WireClient,
    connect_packet,
    puback_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 30.0
# The SDK asks for a version of TLS in a way that Python has grown out of.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    options = StackOptions(devices=("leaf", "other"), uplink_amqp_port=0, uplink_https_port=0)
    async with Stack(options) as found:
        yield found


class Listening:
    """A device of the SDK that keeps the messages it gets."""

    def __init__(self, stack: Stack, name: str = "leaf") -> None:
        from azure.iot.device.aio import IoTHubDeviceClient

        self.sdk: Any = IoTHubDeviceClient.create_from_connection_string(
            stack.connection_string(name), server_verification_cert=stack.authority.file.read_text()
        )
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Listening:
        loop = asyncio.get_running_loop()

        async def received(message: Any) -> None:
            loop.call_soon_threadsafe(self.messages.put_nowait, message)

        await self.sdk.connect()
        self.sdk.on_message_received = received
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sdk.shutdown()

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.messages.get()

    async def texts(self, count: int) -> list[str]:
        """Bodies of the next ones."""
        return [(await self.next()).data.decode() for _ in range(count)]


async def c2d(stack: Stack, *arguments: str) -> str:
    """`iothub c2d`, which has to work: its output."""
    command = [sys.executable, "-m", "iothub", "c2d", *arguments]
    command += ["--data-dir", str(stack.folder / "iothub"), "--ca-file", str(stack.authority.file)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def waiting(stack: Stack, device: str = "leaf") -> int:
    """Messages that iothub still has, which this throws away."""
    return int(json.loads(await c2d(stack, "purge", device, "--json"))["totalMessagesPurged"])


async def test_a_message_with_all_its_properties(stack: Stack) -> None:
    async with Listening(stack) as leaf, Listening(stack, "other") as other:
        await c2d(
            stack, "send", "leaf", "wake up", "-p", "level=very high", "-p", "a&b=1=2", "--ack", "positive",
            "--message-id", "m/17", "--correlation-id", "c 1", "--content-type", "text/plain",
            "--content-encoding", "utf-8", "--expires-in", "600",
        )  # fmt: skip
        message = await leaf.next()
        assert message.data == b"wake up"
        assert message.custom_properties == {"level": "very high", "a&b": "1=2"}
        assert (message.message_id, message.correlation_id) == ("m/17", "c 1")
        assert (message.content_type, message.content_encoding) == ("text/plain", "utf-8")
        assert message.ack == "positive"
        await c2d(stack, "send", "other", "for the other")
        assert await other.texts(1) == ["for the other"]
        assert leaf.messages.empty()
    assert await waiting(stack) == 0
    for _ in range(int(PATIENCE_S)):
        records = json.loads(await c2d(stack, "feedback"))
        if records:
            break
        await asyncio.sleep(1)
    assert [(record["originalMessageId"], record["statusCode"]) for record in records] == [
        ("m/17", "Success")
    ]


# paho leaves a pair of sockets behind when it comes back by itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_messages_wait_while_the_device_the_link_or_the_hub_is_away(stack: Stack) -> None:
    async with Listening(stack) as leaf:
        await c2d(stack, "send", "leaf", "first")
        assert await leaf.texts(1) == ["first"]
    await c2d(stack, "send", "leaf", "while the device was away")
    async with Listening(stack) as leaf:
        assert await leaf.texts(1) == ["while the device was away"]
        await stack.relay.cut()
        for number in range(3):
            await c2d(stack, "send", "leaf", f"while the link was cut {number}")
        await stack.relay.restore()
        assert await leaf.texts(3) == [f"while the link was cut {number}" for number in range(3)]
        await stack.hub.kill()
        await c2d(stack, "send", "leaf", "while the hub was down")
        await stack.hub.start()
        # The word of the last acknowledgements may have gone with the hub.
        while (text := (await leaf.texts(1))[0]) != "while the hub was down":
            assert text.startswith("while the link was cut")
    assert await waiting(stack) == 0


def connect_raw(stack: Stack) -> WireClient:
    """A connection of the leaf that acknowledges nothing by itself."""
    identity = stack.identities["leaf"]
    audience = device_audience(stack.iothub_name, "leaf")
    token = build_token(audience, int(time.time()) + 600, key=identity.key)
    client = WireClient(stack.places.mqtt_port, host=stack.places.hub_host, ca=stack.authority.file)
    username = f"{stack.iothub_name}/leaf/?api-version=2021-04-12"
    client.send(connect_packet("leaf", username, token, clean=False))
    assert client.expect(CONNACK).code == 0
    client.send(subscribe_packet("devices/leaf/messages/devicebound/#"))
    return client


def next_message(client: WireClient) -> tuple[int, bytes]:
    """Packet id and body of the next message."""
    while (got := client.receive()) is not None:
        if got.kind == PUBLISH:
            return got.message()[1:]
    raise AssertionError("closed")


async def test_a_takeover_loses_nothing(stack: Stack) -> None:
    first = connect_raw(stack)
    for text in ("one", "two"):
        await c2d(stack, "send", "leaf", text)
    (one, body) = await asyncio.to_thread(next_message, first)
    assert body == b"one"
    assert (await asyncio.to_thread(next_message, first))[1] == b"two"
    first.send(puback_packet(one))
    with connect_raw(stack) as second:
        # The first is closed, and what it did not acknowledge comes again.
        number, body = await asyncio.to_thread(next_message, second)
        while body != b"two":
            # The word of the first may have been on its way.
            assert body == b"one"
            second.send(puback_packet(number))
            number, body = await asyncio.to_thread(next_message, second)
        second.send(puback_packet(number))
        assert await asyncio.to_thread(first.receive) is None
        for _ in range(int(PATIENCE_S)):
            if await waiting(stack) == 0:
                break
    first.socket.close()
