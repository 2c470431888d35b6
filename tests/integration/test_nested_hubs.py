"""Two hubs below one iothub: `gateway`, and below it the edge device `child` with a leaf device of its own.

What concerns identities goes from the child through the HTTPS head of the gateway to iothub; the child's link
for messages leads past the gateway (docs/nested.md).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edgehub.demo.iothub_api import HTTP_OK, TelemetryEvent
from edgehub.demo.ports import free_port
from edgehub.demo.processes import Child, python_module
from edgehub.demo.relay import Relay, RelayPort
from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import PUBACK, WireClient, publish_packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PARENT = "localhost"
"""Name by which the child knows its parent; the certificates behind all its ports are for that name, too."""
LOOPBACK = "127.0.0.1"
PATIENCE_S = 30.0
EDGE_HUB = "$edgeHub"
MESSAGES = 20
NOT_AUTHORIZED = 5
ROUTES = {
    "schemaVersion": "1.1",
    "routes": {"up": "FROM /messages/* INTO $upstream"},
    "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
}


class NestedStack(Stack):
    """A stack with a second hub below the first.

    :ivar keys: of all identities below the gateway, by name.
    """

    child: Child

    def __init__(self) -> None:
        names = ("gateway_https", "gateway_mqtt", "child_https", "child_mqtt", "child_metrics")
        self.ports = {name: free_port(LOOPBACK) for name in names}
        self.keys: dict[str, str] = {}
        settings = {
            "mqttSettings__plain_port": str(self.ports["gateway_mqtt"]),
            "httpSettings__enabled": "true",
            "httpSettings__host": LOOPBACK,
            "httpSettings__port": str(self.ports["gateway_https"]),
        }
        super().__init__(
            StackOptions(mqtt_port=0, uplink_amqp_port=0, uplink_https_port=0, hub_settings=settings)
        )

    async def _register(self) -> None:
        """All before the first hub starts, which then finds the second and its leaf in its scope."""
        await super()._register()
        top = self.identities[self.options.edge_device].scope
        child = await self.api.create_device("child", edge=True, parent_scope=top)
        hub = await self.api.create_module("child", EDGE_HUB)
        deep = await self.api.create_device("deep", parent_scope=child.scope)
        beside = await self.api.create_device("beside", parent_scope=top)
        self.keys = {"child": child.key, "child/$edgeHub": hub.key, "deep": deep.key, "beside": beside.key}
        await self.api.update_desired("child", EDGE_HUB, ROUTES)

    async def start_child(self) -> None:
        """Starts the second hub."""
        messages = Relay([RelayPort(LOOPBACK, 0, self.options.iothub_host, self.places.iothub_amqp_port)])
        await messages.restore()
        self._clean_up.push_async_callback(messages.cut)
        files = self.authority.issue("child", (PARENT, LOOPBACK))
        (self.folder / "child").mkdir(mode=0o700)
        settings = {
            "IotHubConnectionString": (
                f"HostName={self.iothub_name};DeviceId=child;ModuleId={EDGE_HUB};"
                f"SharedAccessKey={self.keys['child/$edgeHub']};GatewayHostName={PARENT}"
            ),
            "UpstreamAmqpPort": str(messages.ports[0].port),
            "UpstreamHttpsPort": str(self.ports["gateway_https"]),
            "EdgeHubDevServerCertificateFile": str(files.chain),
            "EdgeHubDevServerPrivateKeyFile": str(files.key),
            "EdgeHubDevTrustBundleFile": str(self.authority.file),
            "EDGEDEVICEHOSTNAME": PARENT,
            "StorageFolder": str(self.folder / "child"),
            "mqttSettings__host": LOOPBACK,
            "mqttSettings__port": "0",
            "mqttSettings__plain_port": str(self.ports["child_mqtt"]),
            "httpSettings__host": LOOPBACK,
            "httpSettings__port": str(self.ports["child_https"]),
            "httpSettings__metrics_host": LOOPBACK,
            "httpSettings__metrics_port": str(self.ports["child_metrics"]),
        }
        self.child = self._add("child", python_module("edgehub"), settings, self._child_ready)
        await self.child.start()

    async def _child_ready(self) -> bool:
        url = f"http://{LOOPBACK}:{self.ports['child_metrics']}/healthz"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status == HTTP_OK
        except aiohttp.ClientError:
            return False

    def token(self, name: str) -> str:
        """Token of a device or module."""
        device, _, module = name.partition("/")
        audience = device_audience(self.iothub_name, device, module or None)
        return build_token(audience, int(time.time()) + 600, key=self.keys[name])

    def connect(
        self, port: str, name: str, *, extra: str = "", signer: str | None = None
    ) -> tuple[WireClient, int]:
        """A client that sent CONNECT, and the code that it got."""
        client = WireClient(self.ports[port])
        username = f"{self.iothub_name}/{name}/?api-version=2021-04-12{extra}"
        return client, client.connect(name, username, self.token(signer or name))

    async def rest(
        self, port: str, method: str, path: str, who: str, body: Any = None, if_match: str | None = None
    ) -> tuple[int, Any]:
        """A call to the HTTPS head of one of the hubs: status and JSON."""
        headers = {"Authorization": self.token(who)} | ({"If-Match": if_match} if if_match else {})
        trusting = ssl.create_default_context(cafile=str(self.authority.file))
        url = f"https://{PARENT}:{self.ports[port]}{path}?api-version=2020-06-30-preview"
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
            session.request(method, url, json=body, headers=headers) as answer,
        ):
            text = await answer.text()
            return answer.status, json.loads(text) if text else None


@pytest.fixture
async def stack() -> AsyncIterator[NestedStack]:
    async with NestedStack() as found:
        await found.start_child()
        yield found


def publish(client: WireClient, name: str, first: int) -> None:
    """Some numbers, each acknowledged."""
    for number in range(first, first + MESSAGES):
        client.send(publish_packet(f"devices/{name}/messages/events/", b"%d" % number, number))
        assert client.expect(PUBACK).acked == number


async def arrivals(stack: Stack, count: int) -> list[TelemetryEvent]:
    found: list[TelemetryEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in stack.telemetry():
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_h_011_and_i_017_messages_of_a_leaf_of_the_child(stack: NestedStack) -> None:
    """The child learns through its parent who may connect; iothub sees the leaf, whoever carries messages."""
    assert "Device scope refreshed: 4 identities" in stack.child.log.read_text()
    leaf, code = await asyncio.to_thread(stack.connect, "child_mqtt", "deep")
    assert code == 0
    await asyncio.to_thread(publish, leaf, "deep", 1)
    leaf.socket.close()
    # As a child whose own link is MQTT presents its clients.
    on_behalf = {"extra": "&auth-chain=deep%3Bchild", "signer": "child/$edgeHub"}
    carried, code = await asyncio.to_thread(stack.connect, "gateway_mqtt", "deep", **on_behalf)
    assert code == 0
    await asyncio.to_thread(publish, carried, "deep", MESSAGES + 1)
    carried.socket.close()
    events = await arrivals(stack, 2 * MESSAGES)
    assert {(event.device_id, event.module_id) for event in events} == {("deep", None)}
    # Two ways lead to iothub: each keeps its order.
    numbers = [int(event.body) for event in events]
    assert sorted(numbers) == list(range(1, 2 * MESSAGES + 1))
    for way in (range(1, MESSAGES + 1), range(MESSAGES + 1, 2 * MESSAGES + 1)):
        assert [number for number in numbers if number in way] == list(way)


async def test_i_017_nobody_speaks_outside_of_the_subtree(stack: NestedStack) -> None:
    for port, name, chain, signer in (
        ("child_mqtt", "beside", "", "beside"),
        ("gateway_mqtt", "beside", "&auth-chain=beside%3Bchild", "child/$edgeHub"),
        ("gateway_mqtt", "deep", "&auth-chain=deep%3Bbeside", "beside"),
        ("gateway_mqtt", "deep", "&auth-chain=deep%3Bchild", "deep"),
    ):
        client, code = await asyncio.to_thread(stack.connect, port, name, extra=chain, signer=signer)
        client.socket.close()
        assert code == NOT_AUTHORIZED, (port, name, chain)
    base = f"/devices/child/modules/{EDGE_HUB}/"
    for chain in ("beside;child", "gateway", "beside"):
        for call in ("devicesAndModulesInTargetDeviceScope", "getModulesOnTargetDevice"):
            status, body = await stack.rest(
                "gateway_https", "POST", base + call, "child/$edgeHub", {"authChain": chain}
            )
            assert status == 401, body


async def test_h_016_and_row_75_modules_of_a_device_of_the_child(stack: NestedStack) -> None:
    """Identity service of the device -> child hub -> gateway -> iothub, online and offline."""
    path = "/devices/deep/modules/m"
    module = {"deviceId": "deep", "moduleId": "m", "authentication": {"type": "none"}}
    status, created = await stack.rest("child_https", "PUT", path, "deep", module)
    assert (status, created["authentication"]["type"]) == (200, "none")
    keys = {**module, "authentication": {"type": "sas"}}
    status, updated = await stack.rest("child_https", "PUT", path, "deep", keys, "*")
    assert (status, updated["generationId"]) == (200, created["generationId"])
    stack.keys["deep/m"] = updated["authentication"]["symmetricKey"]["primaryKey"]
    client, code = await asyncio.to_thread(stack.connect, "child_mqtt", "deep/m")
    client.socket.close()
    assert code == 0, "the child asks its parent for who is new"
    await stack.relay.cut()
    status, body = await stack.rest("child_https", "GET", path, "deep")
    assert (status, list(body)) == (500, ["errorMessage"])
    listing = f"/devices/child/modules/{EDGE_HUB}/devicesAndModulesInTargetDeviceScope"
    asked = {"authChain": "child", "pageSize": 10, "continuationLink": None}
    status, scope = await stack.rest("gateway_https", "POST", listing, "child/$edgeHub", asked)
    assert (status, [item["deviceId"] for item in scope["devices"]]) == (200, ["child", "deep"])
    await stack.relay.restore()
    assert (await stack.rest("child_https", "DELETE", path, "deep")) == (204, None)
    status, listed = await stack.rest("child_https", "GET", "/devices/deep/modules", "deep")
    assert (status, listed) == (200, [])
