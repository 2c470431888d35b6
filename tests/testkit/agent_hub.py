"""A hub with an edge device, and the agent's link to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from edgeagent.link.client import UpstreamLink
from edgeagent.link.method_calls import MethodAnswer
from edgeagent.link.settings import LinkSettings, UpstreamProtocol
from edgeagent.link.tokens import key_signer
from iothub.config import HubConfig
from iothub.registry.model import parse_device, parse_module
from iothub.server import HubServer
from iothub.twins.model import parse_twin_request
from testkit.iothub_devices import KEY, SAS, WAIT_S, authority, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgeagent.link.topics import DesiredPatch, MethodCall

HOST = "127.0.0.42"
AGENT = "$edgeAgent"


async def start_hub(folder: Path, mqtt_port: int | None = 0) -> HubServer:
    """A hub on the running loop, on free ports. Without MQTT its folder is free when it has stopped."""
    server = HubServer(HubConfig(folder, HOST, HOST, 0, 0, mqtt_port=mqtt_port))
    await server.start()
    return server


class HubProcess:
    """`iothub serve` as a process of its own.

    :param ports: of an earlier one: MQTT and HTTPS.
    """

    def __init__(self, folder: Path, ports: tuple[int, int] = (0, 0)) -> None:
        options = [
            "--data-dir",
            str(folder),
            "--hostname",
            HOST,
            "--host",
            HOST,
            "--amqp-port",
            "0",
            "--json",
        ]
        options += ["--mqtt-port", str(ports[0]), "--https-port", str(ports[1])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iothub", "serve", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.ports = (ready["mqttPort"], ready["httpsPort"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends it at once; once more does nothing."""
        self.process.kill()
        self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


async def register_edge_device(server: HubServer, device_id: str = "e1") -> None:
    """An edge device and its `$edgeAgent`, with the same keys."""
    await server.registry.put_device(
        parse_device(device_id, {**SAS, "capabilities": {"iotEdge": True}}), None
    )
    await server.registry.put_module(parse_module(device_id, AGENT, SAS), "*")


async def set_agent_desired(server: HubServer, desired: dict[str, Any], device_id: str = "e1") -> None:
    """A patch by the service."""
    request = parse_twin_request({"properties": {"desired": desired}})
    await server.twins.patch(device_id, AGENT, request, None)


def link_settings(
    ca_file: Path, ports: tuple[int, int], protocol: UpstreamProtocol = UpstreamProtocol.MQTT, **options: Any
) -> LinkSettings:
    """Of a hub at the address of the tests.

    :param ports: MQTT and HTTPS.
    """
    return LinkSettings(
        host=HOST,
        hub_hostname=HOST,
        device_id="e1",
        protocols=(protocol,),
        mqtt_port=ports[0],
        websocket_port=ports[1],
        trust_pem=ca_file.read_text(),
        product_info="EdgeAgent/1 (x)",
        **options,
    )


def settings_for(
    server: HubServer, protocol: UpstreamProtocol = UpstreamProtocol.MQTT, **options: Any
) -> LinkSettings:
    """Of a hub that runs here."""
    assert server.mqtt_port is not None
    return link_settings(authority(server), (server.mqtt_port, server.https_port), protocol, **options)


class Heard:
    """Keeps what the link tells, and answers methods with what was asked."""

    def __init__(self) -> None:
        self.ups = 0
        self.downs: list[str] = []
        self.refusals: list[str] = []
        self.patches: list[DesiredPatch] = []

    def link_up(self) -> None:
        self.ups += 1

    def link_down(self, reason: str) -> None:
        self.downs.append(reason)

    def link_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def desired_patch(self, patch: DesiredPatch) -> None:
        self.patches.append(patch)

    async def serve(self, call: MethodCall) -> MethodAnswer:
        return MethodAnswer(207, {"method": call.name, "payload": call.payload.decode()})


@contextlib.asynccontextmanager
async def running_link(settings: LinkSettings, key: str = KEY) -> AsyncIterator[tuple[UpstreamLink, Heard]]:
    """A link that runs, connected or not."""
    heard = Heard()
    link = UpstreamLink(settings, key_signer(key), heard.serve)
    link.listen(heard)
    task = asyncio.create_task(link.run())
    try:
        yield link, heard
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=WAIT_S)


async def connected(link: UpstreamLink) -> None:
    """Waits until the link is up."""
    await until(lambda: link.connected)
