"""The hub as an object: start, ports, stop. `iothub serve` is a thin shell around it.

Order of start: database, telemetry log, certificates, MQTT engine, listeners. Order of stop: no new
connections, telemetry that was taken is committed and acknowledged, connections are closed with a reason,
files last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from typing import TYPE_CHECKING, Final, cast

from iothub.amqp.listener import AmqpListener
from iothub.amqp.services import AmqpServices
from iothub.auth import Authorizer
from iothub.c2d.service import CloudToDevice
from iothub.certificates import ServerCertificate, own_certificate, server_context
from iothub.connections import ConnectionTable
from iothub.database import Database
from iothub.methods.service import Methods
from iothub.policies import OWNER_POLICY, Policy, load_policies
from iothub.registry.service import Registry
from iothub.rest.app import RestServer, RestServices
from iothub.telemetry.tail import Telemetry
from iothub.twins.service import Twins

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from edgehub.hub.ports import CoreModule
    from iothub.config import HubConfig
    from iothub.mqtt.endpoint import MqttEndpoint

log = logging.getLogger(__name__)

OWNER_FILE: Final = "iothubowner.txt"
ENDPOINT_FILE: Final = "endpoint.json"
MQTT_FOLDER: Final = "mqtt"
REGISTRY_FILE: Final = "hub.db"


class HubServer:
    """One hub in this process, on the running event loop.

    :ivar amqp_port: known after `start`.
    :ivar https_port: known after `start`.
    :ivar mqtt_port: known after `start`; 0 without MQTT.
    :ivar mqtt: None without MQTT.
    :ivar faulty: set after a failure with which the hub cannot go on.
    :ivar fault: what it was.
    """

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.amqp_port = 0
        self.https_port = 0
        self.mqtt_port = 0
        self.mqtt: MqttEndpoint | None = None
        self.faulty = asyncio.Event()
        self.fault = ""
        self.policies: dict[str, Policy] = {}
        self.certificate: ServerCertificate
        self.registry: Registry
        self.twins: Twins
        self.telemetry: Telemetry
        self.c2d: CloudToDevice | None = None
        self.amqp: AmqpServices
        self._database: Database | None = None
        self._telemetry_open = False
        self._listener: AmqpListener | None = None
        self._rest: RestServer | None = None
        self._c2d_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens everything. After a failure nothing is left open.

        :raises EdgehubError: a database, certificate or key cannot be used.
        :raises OSError: a file or port cannot be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = Database(self._registry_place())
        self.policies = load_policies(self._database.engine)
        self.telemetry = Telemetry(config.data_dir / "telemetry.db", config.limits, config.clock)
        self._telemetry_open = True
        self.registry = Registry(self._database, config.clock)
        self.twins = Twins(self._database, config.clock)
        tls = self._tls()
        client_ca = config.client_ca_file.read_bytes() if config.client_ca_file is not None else None
        authorizer = Authorizer(self.registry, self.policies, (config.hostname,), config.clock, client_ca)
        methods = Methods(authorizer)
        c2d = self.c2d = CloudToDevice(self._database, config.limits.c2d, config.clock)
        await c2d.start()
        self._c2d_task = asyncio.get_running_loop().create_task(c2d.run(), name="cloud to device")
        connections = ConnectionTable()
        self.amqp = AmqpServices(
            container_id=f"iothub_{uuid.uuid4().hex}",
            hub_name=config.hostname.partition(".")[0].lower(),
            limits=config.limits,
            clock=config.clock,
            authorizer=authorizer,
            telemetry=self.telemetry,
            twins=self.twins,
            methods=methods,
            c2d=c2d,
            connections=connections,
        )
        self._listener = AmqpListener(self.amqp)
        self.registry.listen(self._listener.identity_changed)
        if config.mqtt_port is not None:
            await self._open_mqtt(authorizer, methods, c2d, connections)
        self._rest = RestServer(
            RestServices(
                config.limits,
                config.clock,
                authorizer,
                self.registry,
                self.twins,
                methods,
                c2d,
                self.telemetry,
                connections,
            ),
            self.mqtt.on_upgrade if self.mqtt is not None else None,
        )
        self.amqp_port = await self._listener.start(config.host, config.amqp_port, tls)
        self.https_port = await self._rest.start(config.host, config.https_port, tls)
        if self.mqtt is not None and config.mqtt_port is not None:
            chain, key = self.certificate.cert_file.read_bytes(), self.certificate.key_file.read_bytes()
            self.mqtt_port = self.mqtt.listen(config.host, config.mqtt_port, chain, key)
        self._write_files()

    async def _open_mqtt(
        self, authorizer: Authorizer, methods: Methods, c2d: CloudToDevice, connections: ConnectionTable
    ) -> None:
        # Late: a hub without MQTT needs no extension.
        from edgehub import _core  # noqa: PLC0415
        from iothub.mqtt.endpoint import MqttEndpoint  # noqa: PLC0415
        from iothub.mqtt.services import MqttServices  # noqa: PLC0415

        config = self.config
        services = MqttServices(
            config.hostname,
            config.limits,
            config.clock,
            authorizer,
            self.registry,
            self.telemetry,
            self.twins,
            methods,
            c2d,
            connections,
        )
        core = cast("CoreModule", _core)
        self.mqtt = MqttEndpoint(services, core, config.data_dir / MQTT_FOLDER, self._failed)
        await self.mqtt.open()

    def _failed(self, text: str) -> None:
        log.critical("%s", text)
        self.fault = self.fault or text
        self.faulty.set()

    def _registry_place(self) -> Path | str:
        file = self.config.data_dir / REGISTRY_FILE
        if self.config.database_url is None:
            return file
        if file.exists():
            log.warning("%s is not used: the registry is in the database of the URL", file)
        return self.config.database_url

    def _tls(self) -> ssl.SSLContext:
        config = self.config
        if config.cert_file is not None and config.key_file is not None:
            self.certificate = ServerCertificate(config.cert_file, config.key_file, None)
        else:
            self.certificate = own_certificate(config.data_dir, config.hostname, config.clock())
        asked = (config.client_ca_file, config.client_certs_file)
        return server_context(self.certificate, [file for file in asked if file is not None])

    def _write_files(self) -> None:
        """For the command line on the same machine: where we listen, and the owner's connection string."""
        ca_file = self.certificate.ca_file
        endpoint = {
            "hostname": self.config.hostname,
            "address": "127.0.0.1" if self.config.host in ("0.0.0.0", "", "::") else self.config.host,
            "httpsPort": self.https_port,
            "amqpPort": self.amqp_port,
            "mqttPort": self.mqtt_port,
            "caFile": str(ca_file.resolve()) if ca_file else None,
        }
        (self.config.data_dir / ENDPOINT_FILE).write_text(json.dumps(endpoint))
        _write_secret(self.config.data_dir / OWNER_FILE, self.connection_string(OWNER_POLICY) + "\n")

    def connection_string(self, policy: str) -> str:
        """Connection string of a shared access policy.

        :raises KeyError: no such policy.
        """
        key, host = self.policies[policy].primary_key, self.config.hostname
        return f"HostName={host};SharedAccessKeyName={policy};SharedAccessKey={key}"

    async def drain(self) -> None:
        """Stops accepting and waits until all telemetry taken so far is committed and acknowledged."""
        if self._listener is not None:
            self._listener.stop_accepting()
        if self.mqtt is not None:
            await self.mqtt.drain()
        if self._telemetry_open:
            await self.telemetry.drain()

    async def stop(self) -> None:
        """Drains, closes connections, closes files. Idempotent."""
        await self.drain()
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self.mqtt is not None:
            await self.mqtt.stop()
            self.mqtt = None
        if self._rest is not None:
            await self._rest.stop()
            self._rest = None
        if self._c2d_task is not None:
            self._c2d_task.cancel()
            await asyncio.gather(self._c2d_task, return_exceptions=True)
            self._c2d_task = None
        if self.c2d is not None:
            await self.c2d.stop()
        if self._telemetry_open:
            self._telemetry_open = False
            await self.telemetry.close()
        if self._database is not None:
            self._database.close()
            self._database = None


def _write_secret(path: Path, text: str) -> None:
    """Readable by the owner alone, also when the file was there before."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
