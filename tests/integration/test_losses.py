"""What the core drops reaches the totals, by reason and by queue and cause, and the ledger for tools."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from edgehub import _core
from edgehub.cli.commands import app
from edgehub.metrics.core_totals import CoreTotals, decode_core_totals
from testkit.wire import CONNACK, PUBACK, WireClient, connect_packet, publish_packet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOPIC = "devices/leaf/messages/events/"
ROUTE = "FROM /messages/* INTO $upstream"
PRIORITY = 5
PATIENCE_S = 30


def _accept(engine: _core.Engine) -> None:
    for event in engine.next_events():
        if isinstance(event, _core.ConnectEvent):
            grants = _core.Grants(device_id="leaf", telemetry_topics=[TOPIC.rstrip("/")])
            engine.accept(event.conn, grants, session_present=False)


def _publish(port: int, count: int) -> None:
    client = WireClient(port)
    client.send(connect_packet("leaf", "u", "p"))
    client.expect(CONNACK)
    for number in range(1, count + 1):
        client.send(publish_packet(TOPIC, b"x", number))
        assert client.expect(PUBACK).acked == number
    client.socket.close()


async def _totals_after(
    ttl_secs: int, drop: Callable[[_core.Engine], None], folder: Path | None = None
) -> CoreTotals:
    engine = _core.Engine(edge_device_id="edge1", storage_dir=str(folder) if folder else None)
    engine.start()
    asyncio.get_running_loop().add_reader(engine.event_fd(), _accept, engine)
    try:
        engine.set_routes([("r", ROUTE, PRIORITY, ttl_secs)], default_ttl_secs=60)
        _, port = engine.listen("127.0.0.1", 0)
        await asyncio.to_thread(_publish, port, 2)
        drop(engine)
        return decode_core_totals(engine.metrics())
    finally:
        asyncio.get_running_loop().remove_reader(engine.event_fd())
        engine.stop(1000)


def _reject_first(engine: _core.Engine) -> None:
    (batch,) = engine.upstream_take(1, 262_144, 1)
    assert batch.count == 1
    engine.upstream_settle(batch.token, "rejected")


async def test_a_message_that_the_parent_hub_refuses() -> None:
    totals = await _totals_after(60, _reject_first)
    ((endpoint, priority, length),) = totals.queues
    assert (priority, length) == (PRIORITY, 1)
    assert totals.lost == [(endpoint, PRIORITY, "rejected", 1)]
    assert totals.dropped == [("rejected_upstream", "leaf", "", 1)]
    assert totals.store["given_up"] == 1


async def test_messages_that_expire_in_their_queue() -> None:
    def wait(engine: _core.Engine) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while decode_core_totals(engine.metrics()).store["live_messages"]:
            assert time.monotonic() < end_s, "the store drops what is expired by itself"
            time.sleep(0.05)

    totals = await _totals_after(1, wait)
    ((endpoint, _, _),) = totals.queues
    assert totals.lost == [(endpoint, PRIORITY, "expired", 2)]
    assert totals.dropped == [("ttl_expiry", "", "", 2)]
    assert (totals.store["expired"], totals.store["given_up"]) == (2, 0)


async def test_losses_of_a_stopped_hub_are_shown_by_the_store_tools(tmp_path: Path) -> None:
    await _totals_after(60, _reject_first, tmp_path)
    await _totals_after(60, _reject_first, tmp_path)
    losses = json.loads(CliRunner().invoke(app, ["store", "ls", str(tmp_path), "--json"]).stdout)["losses"]
    (total,) = losses["totals"]
    assert (total["endpoint"], total["cause"], total["messages"]) == ("iothub", "rejected", 2)
    assert [(loss["firstSeq"], loss["messages"]) for loss in losses["last"]] == [(0, 1), (1, 1)]
