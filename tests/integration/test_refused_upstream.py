"""A client that iothub refuses loses its connection to the hub (T-024).

The whole system on loopback addresses: client -> hub -> relay -> iothub.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import PUBACK, WireClient, publish_packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 30.0


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    options = StackOptions(
        routes={"up": "FROM /messages/* INTO $upstream"},
        devices=("leaf", "other"),
        modules=(),
        uplink_amqp_port=0,
        uplink_https_port=0,
        hub_settings={"StoreSync": "none"},
    )
    async with Stack(options) as found:
        yield found


class Sender:
    """A device that sends."""

    def __init__(self, stack: Stack, device: str) -> None:
        self._stack, self._device, self._sent = stack, device, 0
        self._wire: WireClient | None = None

    def connect(self) -> int:
        """The answer to CONNECT."""
        stack, device = self._stack, self._device
        key = stack.identities[device].key
        audience = device_audience(stack.iothub_name, device)
        token = build_token(audience, int(time.time()) + 3600, key=key)
        self.close()
        self._wire = WireClient(stack.places.mqtt_port, host=stack.places.hub_host, ca=stack.authority.file)
        return self._wire.connect(device, f"{stack.iothub_name}/{device}/?api-version=2021-04-12", token)

    def send(self) -> bool:
        """Whether a message was acknowledged; else the hub closed the connection."""
        assert self._wire is not None
        self._sent += 1
        try:
            self._wire.send(publish_packet(f"devices/{self._device}/messages/events/", b"{}", self._sent))
            answer = self._wire.receive()
        except OSError:
            return False
        assert answer is None or (answer.kind, answer.acked) == (PUBACK, self._sent)
        return answer is not None

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._wire is not None:
            self._wire.socket.close()


async def disable(stack: Stack, device: str) -> None:
    found = await stack.api._call("GET", f"/devices/{device}")
    await stack.api._call("PUT", f"/devices/{device}", found | {"status": "disabled"}, overwrite=True)


async def arrived(stack: Stack, wanted: set[str]) -> None:
    """Waits until iothub has messages of all of these devices."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in stack.telemetry():
            wanted.discard(event.device_id)
            if not wanted:
                return


async def test_t_024_a_device_that_was_disabled_upstream_is_closed(stack: Stack) -> None:
    leaf, other = Sender(stack, "leaf"), Sender(stack, "other")
    try:
        for sender in (leaf, other):
            assert await asyncio.to_thread(sender.connect) == 0
            assert await asyncio.to_thread(sender.send)
        await arrived(stack, {"leaf", "other"})
        await disable(stack, "leaf")
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(leaf.send):  # noqa: ASYNC110 - it comes from another process
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(other.send)
        async with asyncio.timeout(PATIENCE_S):
            # What the hub knows of the device is read again in the background.
            while (code := await asyncio.to_thread(leaf.connect)) == 0:
                leaf.close()
                await asyncio.sleep(0.2)
        assert code == 5
    finally:
        leaf.close()
        other.close()
