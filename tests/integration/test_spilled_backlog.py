"""Backlog that a hub moves to spill files while the parent hub is away: seen by commands, and delivered."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import lz4.frame  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from edgehub._core import StoreInspector
from edgehub.cli.commands import app
from edgehub.cli.store.locate import locate
from edgehub.demo.ports import free_port
from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import CONNACK, PUBACK, WireClient, connect_packet, publish_packet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEVICE = "leaf"
EXPIRES_AT = 4_000_000_000
INDEX_ENTRIES = 500
MESSAGES = 3000
WINDOW = 100
PATIENCE_S = 60.0


def publish(stack: Stack, port: int, first: int, count: int) -> None:
    """Sends messages with these numbers, a window of them in flight, until all are acknowledged."""
    audience = device_audience(stack.iothub_name, DEVICE)
    password = build_token(audience, EXPIRES_AT, key=stack.identities[DEVICE].key)
    client = WireClient(port)
    try:
        client.send(connect_packet(DEVICE, f"{stack.iothub_name}/{DEVICE}/?api-version=2021-04-12", password))
        assert client.expect(CONNACK).code == 0
        for at in range(count + WINDOW):
            if at < count:
                body = json.dumps({"number": first + at, "padding": "x" * 200}).encode()
                client.send(publish_packet(f"devices/{DEVICE}/messages/events/", body, at + 1))
            if at >= WINDOW:
                assert client.expect(PUBACK).acked == at - WINDOW + 1
    finally:
        client.socket.close()


def store(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    return result


def listed(folder: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(store("ls", folder, "--json").stdout)
    return shown


def upstream_queue(folder: Path) -> dict[str, Any]:
    queues = (queue for queue in listed(folder)["queues"] if queue["endpoint"] == "iothub")
    return next(queues, {"messages": 0, "spilled": 0})


def exported(folder: Path) -> list[int]:
    lines = store("export", "iothub", folder).stdout.splitlines()
    return [json.loads(json.loads(line)["body"])["number"] for line in lines]


def plain_text(folder: Path) -> bytes:
    """What any LZ4 tool makes of the spill files."""
    texts = []
    for path in sorted(folder.rglob("spill-*.lz4")):
        with lz4.frame.open(path) as file:
            texts.append(file.read())
    return b"".join(texts)


async def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        await asyncio.sleep(0.1)


async def arrived(stack: Stack, count: int) -> list[int]:
    """Numbers in iothub's log in the order of their first arrival, until there are so many."""
    numbers: dict[int, None] = {}
    async with asyncio.timeout(PATIENCE_S):
        async for event in stack.telemetry():
            numbers[json.loads(event.body)["number"]] = None
            if len(numbers) == count:
                break
    return list(numbers)


@pytest.mark.timeout(240)
async def test_spilled_backlog_is_seen_and_delivered_in_order() -> None:
    port = free_port("127.0.0.1")
    settings = {"mqttSettings__plain_port": str(port), "StoreSpillIndexEntries": str(INDEX_ENTRIES)}
    async with Stack(StackOptions(devices=(DEVICE,), hub_settings=settings, mqtt_port=0)) as stack:
        folder = stack.folder / "hub"
        await stack.relay.cut()
        await asyncio.to_thread(publish, stack, port, 0, MESSAGES)
        await until(lambda: upstream_queue(folder)["spilled"] > MESSAGES - INDEX_ENTRIES)
        await asyncio.to_thread(publish, stack, port, MESSAGES, 10)
        queue = upstream_queue(folder)
        assert queue["messages"] == MESSAGES + 10
        # The messages resemble each other, and are compressed.
        assert 0 < queue["spillBytes"] < queue["bytes"] / 2
        assert exported(folder) == list(range(MESSAGES + 10))
        assert store("verify", folder).stdout.splitlines()[-1] == "sound"
        assert plain_text(folder).count(b'"padding": "xxx') == queue["spilled"]
        # Across a restart as well.
        await stack.hub.kill()
        assert exported(folder) == list(range(MESSAGES + 10))
        await stack.hub.start()
        arrival = asyncio.create_task(arrived(stack, MESSAGES + 10))
        await stack.relay.restore()
        # Files go while they are read; nothing that is gone counts as damage.
        looks = 0
        while not arrival.done():
            seen = await asyncio.to_thread(StoreInspector, locate(folder), verify=True)
            assert seen.is_sound, (seen.findings(), seen.lost, seen.missed)
            looks += 1
        assert looks > 0
        assert await arrival == list(range(MESSAGES + 10))
        await until(lambda: not list(folder.rglob("spill-*")))
        await until(lambda: int(upstream_queue(folder)["messages"]) == 0)
