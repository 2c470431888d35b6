"""iothub on an address of its own, and devices that connect to it directly."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from edgehub.protocol.sas import build_token, device_audience
from iothub.config import HubConfig
from iothub.registry.model import parse_device, parse_module
from iothub.server import HubServer
from iothub.telemetry.event import Event, events_of
from iothub.twins.model import parse_twin_request
from testkit.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

HOST = "127.0.0.41"
"""SDKs know one port of MQTT and one of HTTPS alone, so this hub has an address of its own."""
WAIT_S = 30.0
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()
SAS = {"authentication": {"symmetricKey": {"primaryKey": KEY, "secondaryKey": OTHER_KEY}}}


async def start(folder: Path, mqtt_port: int | None = 8883, **config: Any) -> HubServer:
    """A hub on the running loop, with the ports that SDKs know. When it has stopped its folder is still not
    free for another one in this process: the engine is only gone with all that refers to it.

    :param config: more of `HubConfig`.
    """
    server = HubServer(HubConfig(folder, HOST, HOST, 0, 443, mqtt_port=mqtt_port, **config))
    await server.start()
    return server


@contextlib.asynccontextmanager
async def serving(folder: Path, **config: Any) -> AsyncIterator[HubServer]:
    """Such a hub, until the end of the block.

    :param config: more of `HubConfig`.
    """
    server = await start(folder, **config)
    try:
        yield server
    finally:
        await server.stop()


async def register(server: HubServer) -> None:
    """The devices d1 and d2, and the module d1/m, all with the same keys."""
    for device_id in ("d1", "d2"):
        await server.registry.put_device(parse_device(device_id, SAS), None)
    await server.registry.put_module(parse_module("d1", "m", SAS), None)


def authority(server: HubServer) -> Path:
    """What clients must trust."""
    found = server.certificate.ca_file
    assert found is not None
    return found


class ServingProcess:
    """`iothub serve` as a process of its own, with the same ports."""

    def __init__(self, folder: Path) -> None:
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
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iothub", "serve", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it; the exit code. Once more does nothing."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread does."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def events(server: HubServer, count: int) -> list[Event]:
    """The log once it has so many events."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = [event for chunk in await server.telemetry.read(0) for event in events_of(chunk)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


async def set_desired(server: HubServer, desired: dict[str, Any]) -> None:
    """A patch by the service."""
    request = parse_twin_request({"properties": {"desired": desired}})
    await server.twins.patch("d1", None, request, None)


class SdkClient:
    """The device d1 or its module on the SDK; keeps the desired patches it gets, and answers methods."""

    def __init__(self, ca_file: Path, *, websockets: bool, module: str = "", **options: Any) -> None:
        # Untyped, and slow to import: only here.
        from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

        kind: Any = IoTHubModuleClient if module else IoTHubDeviceClient
        names = "DeviceId=d1" + (f";ModuleId={module}" if module else "")
        self.sdk: Any = kind.create_from_connection_string(
            f"HostName={HOST};{names};SharedAccessKey={KEY}",
            server_verification_cert=ca_file.read_text(),
            websockets=websockets,
            connection_retry_interval=1,
            **options,
        )
        self.patches: list[dict[str, Any]] = []
        self._open = True

    async def __aenter__(self) -> Self:
        await self.sdk.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the client; once more does nothing."""
        if self._open:
            self._open = False
            await self.sdk.shutdown()
            # What the SDK leaves open of a connection that it lost is closed now, and not in another test.
            gc.collect()

    async def follow(self) -> None:
        """Subscribes to desired patches. The SDK waits for that, and the hub may be on this very loop."""
        loop = asyncio.get_running_loop()

        async def received(patch: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self.patches.append, patch)

        name = "on_twin_desired_properties_patch_received"
        await asyncio.to_thread(setattr, self.sdk, name, received)

    async def patch(self) -> dict[str, Any]:
        """The next desired patch."""
        await until(lambda: bool(self.patches))
        return self.patches.pop(0)

    async def answer_methods(self) -> None:
        """Status 207, with what was asked."""
        from azure.iot.device import MethodResponse

        answer_to: Any = MethodResponse.create_from_method_request

        async def called(request: Any) -> None:
            payload = {"method": request.name, "payload": request.payload}
            await self.sdk.send_method_response(answer_to(request, 207, payload))

        await asyncio.to_thread(setattr, self.sdk, "on_method_request_received", called)


def token(device_id: str, key: str = KEY, life_s: float = 600) -> str:
    """A SAS token as an SDK makes it."""
    return build_token(device_audience(HOST, device_id), int(time.time() + life_s), key=key)


def username(device_id: str) -> str:
    """User name as an SDK makes it."""
    return f"{HOST}/{device_id}/?api-version=2021-04-12"


def opened(ca_file: Path) -> WireClient:
    """A client of bare hands that has sent nothing yet. It blocks, so not on the hub's loop."""
    return WireClient(8883, host=HOST, ca=ca_file)


@contextlib.contextmanager
def connected(ca_file: Path, device_id: str = "d1", *, clean: bool = True) -> Iterator[WireClient]:
    """One that is let in."""
    with opened(ca_file) as client:
        assert client.connect(device_id, username(device_id), token(device_id), clean=clean) == 0
        yield client
