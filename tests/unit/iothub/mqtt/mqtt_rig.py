"""The MQTT endpoint of a hub, with real databases and a stand-in for the engine."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from iothub.config import HubLimits
from iothub.mqtt.endpoint import MqttEndpoint
from iothub.mqtt.services import MqttServices
from testkit import fake_core
from testkit.fake_core import ClosedEvent, ConnectEvent, Engine, PublishEvent, SubscribeEvent
from testkit.head_bench import short
from unit.iothub.hub_rig import HOST, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

WAIT_S = 20.0
"""Longest wait for anything; a test that needs it has failed."""
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()
SAS = {"authentication": {"symmetricKey": {"primaryKey": KEY, "secondaryKey": OTHER_KEY}}}
TWIN_ANSWERS = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
METHODS = "$iothub/methods/POST/#"


def username(identity: str, more: str = "") -> str:
    """As an SDK makes it."""
    return f"{HOST}/{identity}/?api-version=2021-04-12&DeviceClientType=test{more}"


async def until(condition: Callable[[], bool]) -> None:
    """Looks once now at the earliest: what was begun has had a turn of the loop."""
    async with asyncio.timeout(WAIT_S):
        await asyncio.sleep(0.001)
        while not condition():  # noqa: ASYNC110 - most of it comes from other threads
            await asyncio.sleep(0.001)


@dataclass
class MqttRig:
    """A hub with its endpoint; `hub` has the other parts."""

    hub: Rig
    endpoint: MqttEndpoint
    core: Engine
    failures: list[str]

    async def take(self, count: int = 0) -> list[str]:
        """The calls since the last time, once there are so many and nothing more is being done."""
        await until(lambda: len(self.core.calls) >= count)
        for _ in range(3):
            await until(lambda: not self._is_busy())
        return [short(call) for call in self.core.take_calls()]

    def _is_busy(self) -> bool:
        return bool(self.core.events or self.endpoint.head._lanes.busy or self.hub.telemetry._unfinished)

    async def feed(self, *events: Any, count: int = 1) -> list[str]:
        """Hands events over; the calls that they cause."""
        self.core.push(*events)
        return await self.take(count)

    async def connect(self, conn: int, identity: str, **changes: Any) -> list[str]:
        """A good CONNECT, but for the changes."""
        device_id, _, module_id = identity.partition("/")
        if "password" not in changes:
            changes["password"] = (await self.hub.token(device_id, module_id or None)).encode()
        event = ConnectEvent(conn, identity, username(identity), None, f"10.0.0.1:{conn}", clean_session=True)
        return await self.feed(replace(event, **changes))

    async def subscribe(self, conn: int, *filters: str) -> None:
        """A SUBSCRIBE that is granted."""
        calls = await self.feed(SubscribeEvent(conn, 1, [(name, 1) for name in filters]))
        assert calls == [f"suback {conn} 1 {'01' * len(filters)}"]

    async def publish(self, conn: int, topic: str, payload: bytes = b"", *, count: int = 2) -> list[str]:
        """A control publish of QoS 1 with packet id 5."""
        return await self.feed(PublishEvent(conn, 5, topic, payload, 1), count=count)

    async def closed(self, conn: int, reason: str = "eof") -> None:
        """The engine tells the end of a connection."""
        assert await self.feed(ClosedEvent(conn, f"10.0.0.1:{conn}", reason=reason), count=0) == []

    def is_connected(self, device_id: str, module_id: str | None = None) -> bool:
        """As the service is told."""
        return self.hub.services.connections.is_connected(device_id, module_id)


@asynccontextmanager
async def mqtt_hub(folder: Path, limits: HubLimits | None = None) -> AsyncIterator[MqttRig]:
    """A hub for one test, with the devices `d1` and `d2`."""
    async with hub(folder, limits) as made:
        for device_id in ("d1", "d2"):
            await made.device(device_id, **SAS)
        failures: list[str] = []
        services = MqttServices(
            HOST,
            limits or HubLimits(),
            made.clock,
            made.authorizer,
            made.registry,
            made.telemetry,
            made.twins,
            made.services.methods,
            made.services.c2d,
            made.services.connections,
        )
        endpoint = MqttEndpoint(services, fake_core.core_module, folder / "mqtt", failures.append)
        await endpoint.open()
        core = cast("Engine", endpoint._core)
        core.take_calls()
        try:
            yield MqttRig(made, endpoint, core, failures)
        finally:
            await endpoint.stop()
            core.dispose()
