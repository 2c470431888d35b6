"""A hub whose messages may take two megabytes, with the parent hub away: what is refused waits, what is
dropped is counted, and all the rest arrives."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import re
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from edgehub.demo.ports import free_port
from edgehub.demo.stack import EDGE_HUB_MODULE, Stack
from edgehub.demo.topology import DEFAULT_ROUTES, StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import CONNACK, PUBACK, WireClient, connect_packet, publish_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEVICE = "leaf"
EXPIRES_AT = 4_000_000_000
QUOTA_BYTES = 2_000_000
BODY_BYTES = 2000
WINDOW = 20
HELD_S = 2.0
"""Without an acknowledgement for so long, the publisher is held back."""
PATIENCE_S = 60.0


class Publisher:
    """A device with a window of messages in flight, numbered from 1."""

    def __init__(self, stack: Stack, port: int) -> None:
        audience = device_audience(stack.iothub_name, DEVICE)
        password = build_token(audience, EXPIRES_AT, key=stack.identities[DEVICE].key)
        user = f"{stack.iothub_name}/{DEVICE}/?api-version=2021-04-12"
        self._client = WireClient(port)
        self._client.send(connect_packet(DEVICE, user, password))
        assert self._client.expect(CONNACK).code == 0
        self.sent = 0
        self.acked = 0

    def publish(self, count: int) -> bool:
        """Sends so many, and waits for all acknowledgements; False when held back."""
        end = self.sent + count
        self._client.socket.settimeout(HELD_S)
        try:
            while self.acked < end:
                while self.sent < end and self.sent - self.acked < WINDOW:
                    self._send_next()
                self._take_ack()
        except TimeoutError:
            return False
        return True

    def wait_for_acks(self) -> None:
        """Until everything sent is acknowledged."""
        self._client.socket.settimeout(PATIENCE_S)
        while self.acked < self.sent:
            self._take_ack()

    def close(self) -> None:
        self._client.socket.close()

    def _send_next(self) -> None:
        self.sent += 1
        # Old backlog is compressed; this hardly is.
        padding = base64.b85encode(random.randbytes(BODY_BYTES * 4 // 5)).decode()
        body = json.dumps({"number": self.sent, "padding": padding}).encode()
        self._client.send(publish_packet(f"devices/{DEVICE}/messages/events/", body, self.sent))

    def _take_ack(self) -> None:
        assert self._client.expect(PUBACK).acked == self.acked + 1
        self.acked += 1


class Arrivals:
    """Numbers in iothub's log, in the order of their first arrival."""

    def __init__(self, stack: Stack) -> None:
        self.numbers: dict[int, None] = {}
        self._task = asyncio.create_task(self._collect(stack))

    async def _collect(self, stack: Stack) -> None:
        async for event in stack.telemetry():
            self.numbers[json.loads(event.body)["number"]] = None

    async def reach(self, last: int) -> list[int]:
        """Waits for the message with this number; all that came until then, and shortly after."""
        await until(lambda: last in self.numbers or self._task.done())
        self._task.cancel()
        return list(self.numbers)


async def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        await asyncio.sleep(0.05)


async def metric(stack: Stack, name: str, **labels: str) -> float:
    """A value of the hub, 0 when it is not there."""
    text = await stack.metrics_text() or ""
    for line in text.splitlines():
        wanted = all(f'{label}="{value}"' in line for label, value in labels.items())
        if wanted and re.match(rf"edgehub_{name}[{{ ]", line):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


async def metric_reaches(stack: Stack, name: str, value: float) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while (found := await metric(stack, name)) != value:
        assert time.monotonic() < end_s, f"{name} is {found}, not {value}"
        await asyncio.sleep(0.1)


async def connect(stack: Stack, port: int, closing: AsyncExitStack) -> Publisher:
    publisher = await asyncio.to_thread(Publisher, stack, port)
    closing.callback(publisher.close)
    return publisher


def options(port: int, settings: Mapping[str, str]) -> StackOptions:
    own = {"mqttSettings__plain_port": str(port), "StoreSync": "group", **settings}
    return StackOptions(devices=(DEVICE,), hub_settings=own, mqtt_port=0)


@pytest.mark.timeout(240)
async def test_what_is_acknowledged_arrives_and_the_rest_waits_for_room() -> None:
    port = free_port("127.0.0.1")
    async with Stack(options(port, {})) as stack, AsyncExitStack() as closing:
        limits = {"maxSizeBytes": QUOTA_BYTES, "overflowPolicy": "rejectNew"}
        desired = {
            "schemaVersion": "1.1",
            "routes": dict(DEFAULT_ROUTES),
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200, "storeLimits": limits},
        }
        await stack.api.update_desired(stack.options.edge_device, EDGE_HUB_MODULE, desired)
        await metric_reaches(stack, "store_quota_bytes", QUOTA_BYTES)
        arrivals = Arrivals(stack)
        await stack.relay.cut()
        publisher = await connect(stack, port, closing)
        assert not await asyncio.to_thread(publisher.publish, 5000), "the quota is never used up"
        assert publisher.acked * BODY_BYTES > QUOTA_BYTES / 2
        # Backlog that was compressed meanwhile may have made some room again.
        assert 0.7 * QUOTA_BYTES < await metric(stack, "store_used_bytes") < 1.5 * QUOTA_BYTES
        await stack.relay.restore()
        await asyncio.to_thread(publisher.wait_for_acks)
        assert await asyncio.to_thread(publisher.publish, 300)
        numbers = await arrivals.reach(publisher.sent)
        assert numbers == list(range(1, publisher.sent + 1))
        assert await metric(stack, "queue_lost_total", cause="quota") == 0


@pytest.mark.timeout(240)
async def test_when_the_oldest_are_dropped_the_newest_arrive_and_the_counts_add_up() -> None:
    port = free_port("127.0.0.1")
    settings = {"StoreMaxSizeBytes": str(QUOTA_BYTES), "StoreOverflowPolicy": "dropOldest"}
    async with Stack(options(port, settings)) as stack, AsyncExitStack() as closing:
        arrivals = Arrivals(stack)
        publisher = await connect(stack, port, closing)
        assert await asyncio.to_thread(publisher.publish, 10)
        await until(lambda: len(arrivals.numbers) == 10)
        await stack.relay.cut()
        for _ in range(12):
            assert await asyncio.to_thread(publisher.publish, 250)
            assert await metric(stack, "store_used_bytes") < 1.5 * QUOTA_BYTES
        await stack.relay.restore()
        numbers = await arrivals.reach(publisher.sent)
        lost = int(await metric(stack, "queue_lost_total", cause="quota"))
        assert lost > 1000
        assert len(numbers) + lost == publisher.sent
        late = numbers[10:]
        assert late == list(range(late[0], publisher.sent + 1))
        assert all(b == a + 1 for a, b in itertools.pairwise(late))
        assert await metric(stack, "messages_dropped_total", reason="quota") == lost
