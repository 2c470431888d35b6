"""MQTT for devices and modules, as one part of the hub: the engine of edgehub with the hub's own services.

```
device -- TLS 8883 ------------> I/O threads -- events --> heads.mqtt --> clients, twins, methods
device -- HTTPS, WebSocket --> heads.websocket --^   |
                                                      store --> TelemetryDrain --> telemetry log
```

Order of start: `open`, then `listen`. Order of stop: `drain`, then the telemetry log is drained, then `stop`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgehub.common.logs import core_log_level
from edgehub.common.state import SqliteState
from edgehub.errors import EdgehubError
from edgehub.heads.base import EventPump
from edgehub.heads.connections import Connections
from edgehub.heads.control_topics import ControlTopics
from edgehub.heads.dispatch import event_handler
from edgehub.heads.mqtt import MqttHead
from edgehub.heads.observers import Observers
from edgehub.heads.session_store import SessionStore
from edgehub.heads.websocket import MqttWebSockets
from iothub.mqtt.authentication import MqttAuthenticator
from iothub.mqtt.clients import MqttClients
from iothub.mqtt.rules import (
    HUB_RULES,
    KEEP_ALIVE_MAX_MS,
    MESSAGE_BYTES_MAX,
    PACKET_BYTES_MAX,
    WILL_PROPERTY,
)
from iothub.mqtt.telemetry import TelemetryDrain
from iothub.mqtt.twins import MqttTwins

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from edgehub.heads.http import UpgradeHandler
    from edgehub.hub.ports import CoreModule, HubCore
    from iothub.mqtt.services import MqttServices

CONNECTIONS_SPARE: Final = 1000
"""Connections beyond `mqtt_connections_max`, for those that have not sent CONNECT yet or are being closed."""
ROUTES: Final = (("telemetry", "FROM /messages/* INTO $upstream", None, 0),)
"""Everything that devices send goes to the log, which stands where a parent hub would."""
FOR_EVER: Final = -1
STOP_MS: Final = 2000
"""Longest wait for clients to take what is on its way to them, at the end."""

log = logging.getLogger(__name__)


class MqttStartError(EdgehubError):
    """The MQTT endpoint cannot start."""


@dataclass(frozen=True, slots=True)
class _HubClock:
    """The hub's clock for the head."""

    now: Callable[[], float]

    def wall_s(self) -> float:
        return self.now()

    def monotonic_s(self) -> float:
        return time.monotonic()


class MqttEndpoint:
    """The endpoint. Made on the running loop.

    :param core: `edgehub._core`, or a stand-in.
    :param folder: for what is stored; made if missing.
    :param failed: told when nothing can be stored any more: the process should end.
    """

    def __init__(
        self, services: MqttServices, core: CoreModule, folder: Path, failed: Callable[[str], None]
    ) -> None:
        self._services = services
        self._module = core
        self._folder = folder
        self._failed = failed
        self._state: SqliteState | None = None
        self._core: HubCore | None = None
        self._pump: EventPump | None = None
        self._listener: int | None = None
        self._jobs: list[asyncio.Task[None]] = []
        self.head: MqttHead
        self.clients: MqttClients

    # Start

    async def open(self) -> None:
        """Opens the store, which may take seconds after a crash, and starts the engine.

        :raises MqttStartError: the store cannot be opened.
        :raises StateError: the file of sessions cannot be opened.
        """
        messages = self._folder / "messages"
        for folder in (self._folder, messages):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = SqliteState(self._folder / "sessions.db")
        try:
            core = self._core = await asyncio.to_thread(self._open_core, str(messages))
            core.set_routes(list(ROUTES), default_ttl_secs=FOR_EVER)
            core.set_quota(self._services.limits.mqtt_store_bytes_max, "rejectNew")
            self._serve(core, self._state)
            core.start()
        except self._module.CoreError as error:
            raise MqttStartError(f"MQTT: {error}") from None

    def _open_core(self, folder: str) -> HubCore:
        return self._module.Engine(
            edge_device_id=self._services.hostname,
            storage_dir=folder,
            packet_bytes_max=PACKET_BYTES_MAX,
            message_bytes_max=MESSAGE_BYTES_MAX,
            # What is acknowledged is stored. A publish to the topic of another device, or to none that is
            # known, ends the connection (row 60).
            closes_on_drop=True,
            keep_alive_max_ms=KEEP_ALIVE_MAX_MS,
            connections_max=self._services.limits.mqtt_connections_max + CONNECTIONS_SPARE,
            will_property=WILL_PROPERTY,
            log_level=core_log_level(),
        )

    def _serve(self, core: HubCore, state: SqliteState) -> None:
        services = self._services
        connections = Connections(services.limits.mqtt_connections_max)
        sessions = SessionStore(state)
        authenticator = MqttAuthenticator(services.authorizer, services.registry, services.hostname)
        self.clients = MqttClients(services, connections, sessions, authenticator)
        twins = MqttTwins(services.twins, services.clock)
        self.head = MqttHead(
            core,
            self._module.Grants,
            authenticator,
            connections,
            sessions,
            _HubClock(services.clock),
            # Inputs of modules are for gateways: here no identity is below an edge device.
            edge_device_id="",
            observers=Observers((self.clients,), (self.clients,)),
            control=ControlTopics(core, twins, services.methods, closes_unknown=True),
            rules=HUB_RULES,
        )
        self.clients.serve_with(self.head)
        services.registry.listen(self.clients.identity_changed)
        drain = TelemetryDrain(
            core, self._module.CoreError, services.telemetry, services.registry, services.clock
        )
        self._pump = EventPump(
            core, event_handler(self.head, upstream_ready=drain.ready, store_failed=self._store_failed)
        )
        self._pump.start()
        self._spawn("MQTT telemetry", drain.run())
        self._spawn("MQTT clients", self.clients.run())
        # What a run before this one stored is told by no event.
        drain.ready()

    def _spawn(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job, name=name)
        task.add_done_callback(self._job_ended)
        self._jobs.append(task)

    def _job_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("The task %s failed", task.get_name(), exc_info=task.exception())
            self._failed(f"the task {task.get_name()} failed: {task.exception()}")

    def _store_failed(self, detail: str) -> None:
        self._failed(f"the store of MQTT messages failed: {detail}")

    def listen(self, host: str, port: int, chain_pem: bytes, key_pem: bytes) -> int:
        """Opens the port; its number.

        :param port: 0 for any free port.
        :raises MqttStartError: the address or the certificate cannot be used.
        """
        assert self._core is not None
        try:
            self._listener, bound = self._core.listen(
                host, port, chain_pem, key_pem, client_certificates=True
            )
        except self._module.CoreError as error:
            raise MqttStartError(f"MQTT: {error}") from None
        return bound

    @property
    def on_upgrade(self) -> UpgradeHandler:
        """Answers requests for a WebSocket with the sub-protocol `mqtt`."""
        assert self._core is not None
        return MqttWebSockets(self._core.adopt, self._module.CoreError, PACKET_BYTES_MAX).serve

    # Stop

    async def drain(self) -> None:
        """Lets no new client in, finishes requests, and lends no more to the log. Idempotent."""
        if self._core is None:
            return
        if self._listener is not None:
            self._core.close_listener(self._listener)
            self._listener = None
        if hasattr(self, "head"):
            await self.head.drain()
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    async def stop(self) -> None:
        """Closes the sessions and the store; what is left in it goes to the log at the next start. Once."""
        await self.drain()
        if self._core is not None:
            try:
                await asyncio.to_thread(self._core.stop, STOP_MS)
            except self._module.CoreError as error:
                log.error("The store of MQTT messages was not closed: %s", error)
        if self._pump is not None:
            self._pump.drain()
            self._pump.stop()
        if self._state is not None:
            await asyncio.to_thread(self._state.close)
