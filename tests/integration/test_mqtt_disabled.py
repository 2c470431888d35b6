"""A hub whose MQTT head is switched off: nothing of it is there, everything else works (M-002)."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from edgehub.demo.ports import free_port
from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import PUBACK, WireClient, publish_packet

MESSAGES = 20
WAIT_S = 30.0
HEAD = {
    "edgehub.heads.mqtt",
    "edgehub.heads.websocket",
    "edgehub.client_parts",
    "edgehub.heads.session_store",
}


def _publish(stack: Stack, port: int) -> None:
    token = build_token(
        device_audience(stack.iothub_name, "leaf"), int(time.time()) + 3600, key=stack.identities["leaf"].key
    )
    with WireClient(port) as leaf:
        assert leaf.connect("leaf", f"{stack.iothub_name}/leaf/?api-version=2021-04-12", token) == 0
        for number in range(1, MESSAGES + 1):
            leaf.send(publish_packet("devices/leaf/messages/events/", b"%d" % number, number))
            assert leaf.expect(PUBACK).acked == number


async def _arrivals(stack: Stack) -> list[str]:
    bodies: list[str] = []
    async with asyncio.timeout(WAIT_S):
        async for event in stack.telemetry():
            bodies.append(event.body)
            if len(bodies) == MESSAGES:
                break
    return bodies


def _imported(log: str) -> set[str]:
    """Modules that a process with PYTHONPROFILEIMPORTTIME loaded."""
    return set(re.findall(r"^import time:.*\| +(\S+)$", log, re.MULTILINE))


def _threads(pid: int | None) -> set[str]:
    return {file.read_text().strip() for file in Path(f"/proc/{pid}/task").glob("*/comm")}


async def _refused(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def _upgrade_status(log: str, authority: Path) -> int:
    """What the HTTP head, which listens, answers to a client that wants MQTT over WebSocket."""
    (port,) = re.findall(r"HTTP head is listening on port (\d+)", log)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(authority)))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"https://localhost:{port}/$iothub/websocket", protocols=("mqtt",))
    await asyncio.sleep(0.05)
    return refused.value.status


async def test_without_the_head_the_backlog_still_goes_to_the_parent_hub() -> None:
    port = free_port("127.0.0.1")
    settings = {
        "mqttSettings__plain_port": str(port),
        "httpSettings__enabled": "true",
        "httpSettings__host": "127.0.0.1",
        "httpSettings__port": "0",
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    async with Stack(StackOptions(devices=("leaf",), hub_settings=settings, mqtt_port=0)) as stack:
        assert _imported(stack.hub.log.read_text()) >= HEAD, "how the test sees modules works"
        assert any(name.startswith("edgehub-io") for name in _threads(stack.hub.pid))
        await stack.relay.cut()
        await asyncio.to_thread(_publish, stack, port)
        await stack.hub.stop()
        before = stack.hub.log.stat().st_size
        stack.hub.change_environment({"mqttSettings__enabled": "false"})
        await stack.hub.start()
        await stack.relay.restore()
        assert await _arrivals(stack) == [str(number) for number in range(1, MESSAGES + 1)]
        log = stack.hub.log.read_bytes()[before:].decode()
        assert "The MQTT head is disabled" in log
        assert "MQTT head is listening" not in log
        modules = _imported(log)
        assert "edgehub.services" in modules
        assert not modules & HEAD
        assert await _upgrade_status(log, stack.authority.file) == HTTPStatus.BAD_REQUEST
        assert not any(name.startswith("edgehub-io") for name in _threads(stack.hub.pid))
        assert await _refused(stack.places.hub_host, stack.places.mqtt_port)
        assert await _refused("127.0.0.1", port)
        await stack.set_routes({"r": "FROM /* INTO $upstream"})
        metrics = await stack.metrics_text()
        assert metrics is not None
        assert "edgehub_connected_clients{" in metrics
