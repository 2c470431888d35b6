"""The two places a client may connect to: iothub itself, and a hub on a gateway below it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions
from iothub.cli.client import HubClient, identity_path, resolve_login

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgehub.demo.iothub_api import TelemetryEvent

HUB_HOST: Final = "127.0.0.24"
IOTHUB_HOST: Final = "127.0.0.25"
"""SDKs know one port of each protocol, so both places have addresses of their own."""
ROUTES: Final = {
    "up": "FROM /messages/* INTO $upstream",
    "inputs": "FROM /messages/modules/sender/outputs/* INTO BrokeredEndpoint('/modules/receiver/inputs/in')",
}

_NUMBERS: Final = itertools.count(1)


@dataclass
class Place:
    """Where a client connects to.

    :ivar through_hub: on a gateway, not at iothub itself.
    """

    stack: Stack
    through_hub: bool
    cloud: HubClient

    async def device(self) -> str:
        """A fresh device, below the gateway, that may connect in both places."""
        name = f"device-{next(_NUMBERS)}"
        await self.stack.create_device(name)
        return name

    def order(self, name: str, *, ws: bool) -> dict[str, Any]:
        """What the driver needs to open the client of an identity."""
        identity = self.stack.identities[name]
        gateway = self.stack.places.hub_host if self.through_hub else None
        return {
            "connection_string": identity.connection_string(self.stack.iothub_name, gateway),
            "module": identity.module_id is not None,
            "ws": ws,
            "ca": self.stack.authority.file.read_text(),
            "ca_file": str(self.stack.authority.file),
        }

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the service."""
        return await asyncio.to_thread(self.cloud.call, method, path, body, wait_s=30.0)

    async def invoke(self, device: str, name: str, payload: Any, module: str | None = None) -> Any:
        """Calls a method from the cloud."""
        body = {
            "methodName": name,
            "payload": payload,
            "connectTimeoutInSeconds": 20,
            "responseTimeoutInSeconds": 20,
        }
        return await self.call("POST", f"{identity_path('twins', device, module)}/methods", body)

    async def send(self, device: str, body: str, **headers: str) -> None:
        """Sends a cloud-to-device message."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"{identity_path('devices', device)}/messages/deviceBound"
        await asyncio.to_thread(self.cloud.post_bytes, path, body.encode(), named)

    async def events(self, device: str) -> AsyncIterator[TelemetryEvent]:
        """What iothub has of a device, and then what comes."""
        async for event in self.stack.telemetry():
            if event.device_id == device:
                yield event

    async def restart(self) -> None:
        """The server that clients connect to is killed and started again."""
        server = self.stack.hub if self.through_hub else self.stack.iothub
        await server.kill()
        await server.start()


async def make_stack() -> Stack:
    """Both places in one system."""
    return Stack(
        StackOptions(
            hub_host=HUB_HOST,
            iothub_host=IOTHUB_HOST,
            iothub_mqtt_port=8883,
            # The relay has its address, and other ports: who connects directly finds it by the same name.
            uplink_host=IOTHUB_HOST,
            modules=("sender", "receiver"),
            routes=ROUTES,
            uplink_amqp_port=0,
            uplink_https_port=443,
            hub_settings={
                "httpSettings__enabled": "true",
                "httpSettings__host": HUB_HOST,
                "CloudOperationTimeoutSecs": "5",
            },
        )
    )


def cloud_of(stack: Stack) -> HubClient:
    """The service side of a stack."""
    return HubClient(resolve_login(None, stack.folder / "iothub", None, stack.authority.file))
