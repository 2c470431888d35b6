"""A whole system on loopback addresses: iothub, a hub below it, and a link between them that can be cut.

```python
async with Stack(StackOptions(devices=("leaf",))) as stack:
    print(stack.connection_string("leaf"))
    await stack.relay.cut()
    ...
    await stack.relay.restore()
    await stack.hub.kill()
    await stack.hub.start()
    async for event in stack.telemetry():
        ...
```

The hub reaches iothub through a relay on an address of its own, and knows iothub by that address.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import aiohttp

from edgehub.demo.certificates import Authority
from edgehub.demo.errors import ChildError, DemoError
from edgehub.demo.hub_metrics import HubSample, parse_metrics
from edgehub.demo.iothub_api import HTTP_OK, HubApi, Identity, ServicePolicy, TelemetryEvent
from edgehub.demo.ports import claim_hub_host
from edgehub.demo.processes import Child, python_module
from edgehub.demo.relay import Relay, RelayPort
from edgehub.demo.topology import Places, StackOptions, choose_places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

EDGE_HUB_MODULE: Final = "$edgeHub"
TIME_TO_LIVE_SECS: Final = 7200
OWNER_FILE: Final = "iothubowner.txt"
_LOOPBACK_NAMES: Final = ("localhost",)
_PROBE_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0)


class Stack:
    """The running system. Use as an asynchronous context manager.

    :ivar folder: everything lies here, readable by the owner alone.
    :ivar authority: signed every certificate; `authority.file` is what clients trust.
    :ivar api: iothub's service API, not through the relay.
    :ivar places: addresses and ports of everything.
    :ivar relay: the link between the hub and iothub.
    :ivar identities: devices by their id, modules of the gateway by theirs.
    """

    folder: Path
    places: Places
    authority: Authority
    api: HubApi
    relay: Relay
    iothub: Child
    hub: Child

    def __init__(self, options: StackOptions | None = None) -> None:
        self.options = options if options is not None else StackOptions()
        self.identities: dict[str, Identity] = {}
        self._children: list[Child] = []
        self._faulty = asyncio.Event()
        self._fault: ChildError | None = None
        self._clean_up = contextlib.AsyncExitStack()

    # Life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = asyncio.create_task(self._close(keep_logs=isinstance(error, DemoError)))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            # An interrupt at this moment must not leave half of it behind.
            await closing
            raise

    async def _close(self, *, keep_logs: bool) -> None:
        # The last started ends first; the hub before iothub, which takes its last messages.
        for child in reversed(self._children):
            await child.stop()
        if hasattr(self, "relay"):
            await self.relay.cut()
        await self._clean_up.aclose()
        if hasattr(self, "folder") and self.options.folder is None:
            _remove(self.folder, keep_logs=keep_logs)

    def kill_all(self) -> None:
        """Kills every child process at once; the ends are still awaited by `__aexit__`."""
        for child in self._children:
            child.kill_now()

    async def fault(self) -> NoReturn:
        """Waits for a child that ends by itself.

        :raises ChildError: one did.
        """
        await self._faulty.wait()
        assert self._fault is not None
        raise self._fault

    async def _start(self) -> None:
        options = self.options
        self.folder = options.folder or Path(tempfile.mkdtemp(prefix="edgehub-demo-"))
        for name in ("certificates", "iothub", "hub", "logs"):
            (self.folder / name).mkdir(mode=0o700)
        self.places = choose_places(options, options.hub_host or self._claim_hub_host())
        self.relay = self._make_relay()
        # At once, so that nobody else takes its ports while iothub starts.
        await self.relay.restore()
        options.step("making certificates")
        self.authority = Authority(self.folder / "certificates")
        options.step(f"starting iothub on {options.iothub_host}")
        await self._start_iothub()
        options.step(f"registering the gateway {options.edge_device} and what is below it")
        await self._register()
        options.step(f"starting edgehub on {self.places.hub_host}:{self.places.mqtt_port}")
        await self._start_hub()

    def _claim_hub_host(self) -> str:
        host, claim = claim_hub_host(self.options.mqtt_port)
        self._clean_up.enter_context(claim)
        return host

    def _make_relay(self) -> Relay:
        options, places = self.options, self.places
        ports = (
            (places.uplink_amqp_port, places.iothub_amqp_port),
            (places.uplink_https_port, places.iothub_https_port),
        )
        return Relay([RelayPort(options.uplink_host, near, options.iothub_host, far) for near, far in ports])

    # iothub

    @property
    def iothub_name(self) -> str:
        """By which everybody knows iothub, and which tokens are for."""
        return self.options.uplink_host

    @property
    def iothub_url(self) -> str:
        """Base of iothub's REST API, not through the relay."""
        return f"https://{self.options.iothub_host}:{self.places.iothub_https_port}"

    async def _start_iothub(self) -> None:
        options, folder = self.options, self.folder / "iothub"
        names = (self.iothub_name, options.iothub_host, *_LOOPBACK_NAMES)
        files = self.authority.issue("iothub", names)
        arguments = {
            "--data-dir": folder,
            "--hostname": self.iothub_name,
            "--host": options.iothub_host,
            "--amqp-port": self.places.iothub_amqp_port,
            "--https-port": self.places.iothub_https_port,
            "--cert": files.chain,
            "--key": files.key,
        }
        flat = [str(part) for pair in arguments.items() for part in pair]
        mqtt_port = options.iothub_mqtt_port
        flat += ["--no-mqtt"] if mqtt_port is None else ["--mqtt-port", str(mqtt_port)]
        # All of it is in the folder, whatever database an iothub of the user's own has.
        settings = {"IOTHUB_DATABASE_URL": ""}
        command = python_module("iothub", "serve", *flat)
        self.iothub = self._add("iothub", command, settings, self._iothub_ready)
        await self.iothub.start()

    async def _iothub_ready(self) -> bool:
        owner = self.folder / "iothub" / OWNER_FILE
        if not hasattr(self, "api"):
            if not owner.exists():
                return False
            policy = ServicePolicy.parse(owner.read_text())
            api = HubApi(self.iothub_url, policy, str(self.authority.file))
            self.api = await self._clean_up.enter_async_context(api)
        return await self.api.is_up()

    async def _register(self) -> None:
        options = self.options
        edge = await self.api.create_device(options.edge_device, edge=True)
        self.identities[options.edge_device] = edge
        self.identities[EDGE_HUB_MODULE] = await self.api.create_module(options.edge_device, EDGE_HUB_MODULE)
        for device in options.devices:
            await self.create_device(device)
        for module in options.modules:
            await self.create_module(module)
        await self.set_routes(options.routes)

    async def create_device(self, device_id: str) -> Identity:
        """A leaf device below the gateway."""
        scope = self.identities[self.options.edge_device].scope
        identity = await self.api.create_device(device_id, parent_scope=scope)
        self.identities[device_id] = identity
        return identity

    async def create_module(self, module_id: str) -> Identity:
        """A module of the gateway."""
        identity = await self.api.create_module(self.options.edge_device, module_id)
        self.identities[module_id] = identity
        return identity

    async def set_routes(
        self, routes: Mapping[str, str | Mapping[str, Any]], ttl_secs: int = TIME_TO_LIVE_SECS
    ) -> None:
        """Writes the desired properties of `$edgeHub`; the hub applies them when it hears of them."""
        desired = {
            "schemaVersion": "1.1",
            "routes": dict(routes),
            "storeAndForwardConfiguration": {"timeToLiveSecs": ttl_secs},
        }
        await self.api.update_desired(self.options.edge_device, EDGE_HUB_MODULE, desired)

    @property
    def owner_connection_string(self) -> str:
        """Of iothub's policy that may do everything."""
        return (self.folder / "iothub" / OWNER_FILE).read_text().strip()

    def connection_string(self, identity: str) -> str:
        """Of a device or module, through the gateway, for the SDKs."""
        return self.identities[identity].connection_string(self.iothub_name, self.places.hub_host)

    async def telemetry(self, first_sequence: int = 1) -> AsyncIterator[TelemetryEvent]:
        """iothub's log from a position on, then what comes; see `HubApi.telemetry`."""
        async for event in self.api.telemetry(first_sequence):
            yield event

    # Hub

    async def _start_hub(self) -> None:
        files = self.authority.issue("hub", (self.places.hub_host, *_LOOPBACK_NAMES))
        identity = self.identities[EDGE_HUB_MODULE]
        settings = {
            "IotHubConnectionString": identity.connection_string(self.iothub_name),
            "UpstreamAmqpPort": str(self.places.uplink_amqp_port),
            "UpstreamHttpsPort": str(self.places.uplink_https_port),
            "EdgeHubDevServerCertificateFile": str(files.chain),
            "EdgeHubDevServerPrivateKeyFile": str(files.key),
            "EdgeHubDevTrustBundleFile": str(self.authority.file),
            "EDGEDEVICEHOSTNAME": self.places.hub_host,
            "StorageFolder": str(self.folder / "hub"),
            "mqttSettings__host": self.places.hub_host,
            "mqttSettings__port": str(self.places.mqtt_port),
            "httpSettings__enabled": "false",
            "httpSettings__metrics_host": self.places.hub_host,
            "httpSettings__metrics_port": str(self.places.metrics_port),
            **self.options.hub_settings,
        }
        self.hub = self._add("edgehub", python_module("edgehub"), settings, self._hub_ready)
        await self.hub.start()

    @property
    def hub_url(self) -> str:
        """Base of the hub's metrics and health."""
        return f"http://{self.places.hub_host}:{self.places.metrics_port}"

    async def _hub_ready(self) -> bool:
        return (await self._get("/healthz"))[0] == HTTP_OK

    async def metrics_text(self) -> str | None:
        """The hub's exposition; None when it does not answer."""
        status, text = await self._get("/metrics")
        return text if status == HTTP_OK else None

    async def metrics(self) -> HubSample | None:
        """The hub's metrics; None when it does not answer."""
        text = await self.metrics_text()
        return None if text is None else parse_metrics(text)

    async def _get(self, path: str) -> tuple[int, str]:
        """Status and text; status 0 when nobody answers."""
        try:
            async with (
                aiohttp.ClientSession(timeout=_PROBE_TIMEOUT) as session,
                session.get(f"{self.hub_url}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    # Children

    async def spawn(self, label: str, argv: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Starts a further child, which ends with the stack."""
        child = self._add(label, argv, environment, None)
        await child.start()
        return child

    def _add(
        self,
        label: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]] | None,
    ) -> Child:
        log = self.folder / "logs" / f"{label}.log"
        child = Child(label, argv, environment, log, ready=ready, on_fault=self._note_fault)
        self._children.append(child)
        return child

    def _note_fault(self, error: ChildError) -> None:
        """The first one tells; others are often its consequences."""
        if self._fault is None:
            self._fault = error
            self._faulty.set()


def _remove(folder: Path, *, keep_logs: bool) -> None:
    """Removes the folder; of a failed run logs with content stay, because its message names them."""
    if not keep_logs or not any(log.stat().st_size for log in (folder / "logs").glob("*")):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in folder.iterdir():
        if entry.name != "logs":
            shutil.rmtree(entry, ignore_errors=True)
