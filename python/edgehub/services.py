"""Puts the parts of the hub together, from settings and a core. No policy of its own."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgehub.common.clock import SystemClock
from edgehub.common.ids import IdentityId
from edgehub.common.logs import core_log_level
from edgehub.common.priority import lower_python_threads
from edgehub.common.state import MemoryState, SqliteState, StateStore
from edgehub.config.desired import DesiredConfigError, RouteSpec, StoreLimits
from edgehub.config.load import SettingsError
from edgehub.errors import EdgehubError
from edgehub.heads.base import EventPump
from edgehub.heads.connections import Connections
from edgehub.heads.dispatch import event_handler
from edgehub.heads.observers import Observers
from edgehub.hub.certificates import Certificates, check_trust_bundle
from edgehub.hub.desired_files import read_desired_file
from edgehub.hub.folders import DataFolder, choose_base, open_data_folder
from edgehub.hub.own_identity import HubIdentity, resolve_identity
from edgehub.hub.own_key import LocalKey, OwnKey, WorkloadKey, secret_of_file
from edgehub.hub.routes import STATUS_OK, RoutesService
from edgehub.identity.authenticator import Authenticator
from edgehub.identity.client_certificates import ClientCertificates
from edgehub.identity.identities_file import IdentitiesFile
from edgehub.identity.refresher import ScopeApi, ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache, ScopeDiff
from edgehub.identity.sealing import SEALING_CONTEXT, Sealer
from edgehub.identity.workload import WorkloadClient
from edgehub.listeners import Listeners, Ports
from edgehub.metrics.health import Health
from edgehub.metrics.page import MetricsPage
from edgehub.metrics.server import MetricsServer
from edgehub.metrics.totals import HubTotals
from edgehub.upstream_parts import ParentContext, ParentHub, UpstreamParts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from aiohttp.web import RouteDef

    from edgehub.client_parts import ClientParts
    from edgehub.config.settings import Settings
    from edgehub.hub.ports import CoreModule, HubCore

CONNECTIONS_SPARE = 4000
"""Connections beyond `MaxConnectedClients`, for those that have not sent CONNECT yet or are being closed."""

log = logging.getLogger("edgehub")


ParentFactory: TypeAlias = "Callable[[ParentContext], ParentHub]"


class StartError(EdgehubError):
    """The hub cannot start."""


class Services:
    """The parts of one hub. The methods are called in the order in which they stand here."""

    def __init__(
        self,
        settings: Settings,
        core: CoreModule,
        store_failed: Callable[[str], None],
        connect_parent: ParentFactory,
    ) -> None:
        self._connect_parent = connect_parent
        self._settings = settings
        self._core_module = core
        self._store_failed = store_failed
        self.identity = resolve_identity(settings.identity, settings.upstream)
        self.clock = SystemClock()
        self.health = Health()
        self.totals = HubTotals(self.clock, self.identity.hub_host)
        self.connections = Connections(settings.clients.clients_max)
        self._workload = _workload_client(self.identity)
        self._own_key = _own_key(self.identity, self._workload)
        self._certificates = Certificates(settings.identity, self._workload, self.identity.edge_host)
        self._listeners: Listeners | None = None
        self._folder: DataFolder | None = None
        self._state: StateStore | None = None
        self._core: HubCore | None = None
        self._pump: EventPump | None = None
        self._metrics_server: MetricsServer | None = None
        self._clients: ClientParts | None = None
        self._upstream: UpstreamParts | None = None
        self._check_certificate_source()

    # Start

    async def start_metrics(self) -> int:
        """Opens the metrics port, first of all, so that probes see the start. Returns the port."""
        process = self._settings.process
        page = MetricsPage(
            self.identity.hub_host,
            self.identity.device_id,
            lambda: self._core.metrics() if self._core is not None else {},
            self.totals,
            lambda: self.connections.count,
            self.clock,
        )
        self._metrics_server = MetricsServer(self.health, page.render if process.metrics_enabled else None)
        return await self._metrics_server.start(process.metrics_host, process.metrics_port)

    async def open_storage(self) -> None:
        """Opens the data folder, the state and the core; recovery of the messages may take seconds."""
        storage = self._settings.storage
        if storage.persistent:
            base, warning = choose_base(storage.folder)
            if warning:
                log.warning("%s", warning)
            self._folder = open_data_folder(base)
            self._state = SqliteState(self._folder.state_file)
        else:
            self._state = MemoryState()
        self._core = await asyncio.to_thread(self._open_core)
        log.info("Created new message store")

    async def load_identities(self) -> None:
        """Builds everything that decides about clients, with the stored identities."""
        settings, identity, state, core = self._settings, self.identity, self._need_state(), self._need_core()
        clients = settings.clients
        self.routes = RoutesService(
            core,
            self._core_module.check_routes,
            state,
            edge_device_id=identity.device_id,
            default_limits=StoreLimits(settings.storage.max_size_bytes, settings.storage.overflow_policy),
        )
        self._cache = ScopeCache(identity.device_id)
        self._trust_pem = await self._certificates.trust_bundle()
        if identity.has_upstream:
            context = ParentContext(
                settings,
                identity,
                self._sign_key(),
                self._trust_pem,
                core,
                self._chain_of,
                self.clock,
            )
            parent = self._connect_parent(context)
            self._upstream = UpstreamParts(
                identity.id,
                parent,
                self.routes,
                self.totals,
                self.clock,
                settings.upstream,
                follow_twin=self._follow_twin,
            )
        elif self._trust_pem is not None:
            check_trust_bundle(self._trust_pem)
        sealer = await self._sealer()
        self._refresher = ScopeRefresher(
            self._cache,
            RefreshPolicy(period_s=clients.scope_refresh_s, gap_s=clients.scope_refresh_gap_s),
            self._scope_api(),
            self.clock,
            edge_device_id=identity.device_id,
            state=state,
            # A hub without key reads its identities from a file at each start.
            sealer=sealer if self._own_key is not None else None,
            nested=clients.nested_edge,
        )
        stored = self._refresher.load_stored()
        if stored:
            log.info("Loaded %d identities of the last device scope", stored)
        self._refresher.on_diff = self._scope_changed
        if settings.mqtt.enabled:
            self._clients = self._make_clients(core, state, sealer)
            if self._upstream is not None:
                parts = self._clients
                self._upstream.serve(parts.twins, parts.parent_calls, parts.messages, self._unauthorized)

    def load_configuration(self) -> None:
        """Applies the configuration that is at hand: of a file, of the settings, or the last good one.

        :raises SettingsError: the file or a route of the settings cannot be used.
        """
        upstream = self._settings.upstream
        if upstream.routes_file:
            document = read_desired_file(Path(upstream.routes_file))
            status = self.routes.take_document(document, keep=False)
            if status.code != STATUS_OK:
                raise SettingsError(f"RoutesFile={upstream.routes_file}: {status.description}")
        elif upstream.config_source == "local":
            self._apply_local_routes()
        else:
            self.routes.load_last_good()

    def start_core(self) -> None:
        """Starts the core's threads and listens to its events; no listener is open yet."""
        core = self._need_core()
        core.start()
        # Not before: a new thread begins with the nice value of the one that starts it.
        lower_python_threads(self._settings.process.control_nice)
        head = self._clients.head if self._clients is not None else None
        self._pump = EventPump(
            core,
            event_handler(head, upstream_ready=self._messages_ready, store_failed=self._store_failed),
        )
        self._pump.start()

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Jobs that run until the hub stops, by name."""
        jobs: dict[str, Coroutine[Any, Any, None]] = {"device scope": self._refresher.run()}
        if self._clients is not None:
            jobs.update(self._clients.background())
        if self._upstream is not None:
            jobs.update(self._upstream.background())
        return jobs

    async def start_upstream(self) -> None:
        """Starts connecting to the parent hub, if there is one."""
        if self._upstream is not None:
            await self._upstream.start(self._refresher.request_refresh)

    @property
    def knows_identities(self) -> bool:
        return len(self._cache) > 0

    async def first_identities(self) -> None:
        """Waits for one attempt to read the device scope."""
        await self._refresher.refresh_all()

    async def first_configuration(self) -> None:
        """Waits until the twin was read once."""
        if self._upstream is None:
            raise StartError("there is no configuration and no parent hub to get one from")
        await self._upstream.first_configuration()

    async def listen(self) -> Ports:
        """Opens the ports of all enabled heads."""
        listeners = self._listeners = Listeners(
            self._settings,
            self._need_core(),
            self._core_module.CoreError,
            self._certificates,
            self.clock,
            self._rest_routes,
            self._clients.forwarded if self._clients is not None else None,
        )
        return await listeners.open()

    def keep_certificate(self) -> Coroutine[Any, Any, None] | None:
        """The job that keeps the server certificate up to date, if there is one."""
        return self._listeners.keep_certificate() if self._listeners is not None else None

    def renew_certificate(self) -> None:
        """Reads or issues the server certificate anew."""
        if self._listeners is not None:
            self._listeners.renew_certificate()

    # Stop

    async def stop_clients(self) -> None:
        """Lets no new client in, and finishes what the parent hub has in hand."""
        if self._listeners is not None:
            await self._listeners.stop_accepting()
        if self._clients is not None:
            await self._clients.head.drain()
        if self._upstream is not None:
            await self._upstream.stop()

    async def stop_core(self, drain_ms: int) -> None:
        """Finishes deliveries, closes the sessions and the store, and handles the last events."""
        if self._core is None:
            return
        await asyncio.to_thread(self._core.stop, drain_ms)
        if self._pump is not None:
            self._pump.drain()
            self._pump.stop()
        if self._listeners is not None:
            await self._listeners.close()

    async def close(self) -> None:
        """Closes what is left. Safe after a failed start."""
        if self._listeners is not None:
            await self._listeners.close()
        if self._upstream is not None:
            await self._upstream.close()
        if self._state is not None:
            self._state.close()
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        if self._folder is not None:
            self._folder.release()

    # Parts

    def _check_certificate_source(self) -> None:
        mqtt = self._settings.mqtt
        if mqtt.enabled and not self._certificates.available and mqtt.plain_port is None:
            raise SettingsError(
                "the MQTT head has no certificate: set EdgeHubDevServerCertificateFile and "
                "EdgeHubDevServerPrivateKeyFile, or mqttSettings__enabled=false"
            )

    def _open_core(self) -> HubCore:
        storage, mqtt, clients = self._settings.storage, self._settings.mqtt, self._settings.clients
        return self._core_module.Engine(
            edge_device_id=self.identity.device_id,
            storage_dir=str(self._folder.messages) if self._folder is not None else None,
            sync=storage.sync,
            sync_interval_ms=storage.sync_interval_ms,
            sync_min_interval_ms=storage.sync_min_interval_ms,
            spill_index_entries=storage.spill_index_entries,
            io_threads=mqtt.io_threads if mqtt.enabled else None,
            low_memory=not storage.optimize_for_performance,
            pooled_buffers=self._settings.pools_buffers,
            packet_bytes_max=mqtt.packet_bytes_max,
            connect_timeout_ms=mqtt.connect_timeout_ms,
            keep_alive_max_ms=mqtt.keep_alive_max_ms,
            ack_timeout_ms=self._settings.puback_timeout_ms,
            connections_max=clients.clients_max + CONNECTIONS_SPARE,
            unauthenticated_max=mqtt.unauthenticated_max,
            listen_backlog=mqtt.listen_backlog,
            retransmissions_max=self._settings.retransmissions_max,
            abort_on_bad_puback=mqtt.abort_on_bad_puback,
            retain_property=mqtt.retain_property,
            dup_property=mqtt.dup_property,
            qos_property=mqtt.qos_property,
            delivery_qos=mqtt.delivery_qos,
            will_property=f"{mqtt.service_prefix}MessageType",
            connects_per_s=mqtt.connects_per_s,
            log_level=core_log_level(),
            sender_of_topic=mqtt.sender_of_topic,
            sent_renews_keep_alive=mqtt.sent_renews_keep_alive,
        )

    def _make_clients(self, core: HubCore, state: StateStore, sealer: Sealer | None) -> ClientParts:
        from edgehub.client_parts import ClientParts  # noqa: PLC0415 - only with the MQTT head

        shown = self._settings.clients.client_certificates
        authenticator = Authenticator(
            self._cache,
            self._refresher,
            self.clock,
            hosts=self.identity.token_hosts,
            nested=self._settings.clients.nested_edge,
            certificates=ClientCertificates(self._trust_pem) if shown else None,
        )
        upstream = self._upstream
        return ClientParts(
            core,
            self._core_module.Grants,
            authenticator,
            self.connections,
            state,
            self.clock,
            self._settings.upstream,
            edge_device_id=self.identity.device_id,
            observers=Observers((self.totals,) if upstream is None else (self.totals, upstream.twin)),
            totals=self.totals,
            parent=None if upstream is None else upstream.client_side(self._refresher.refresh_these),
            sealer=sealer if self._settings.storage.encrypt_twins else None,
            proxy=IdentityId(self.identity.device_id, self._settings.http.proxy_module_id) if shown else None,
        )

    def _scope_changed(self, diff: ScopeDiff) -> None:
        if self._clients is not None:
            self._clients.scope_changed(diff)
        if self._upstream is not None:
            self._upstream.scope_changed()

    def _unauthorized(self, identity: IdentityId) -> None:
        """The parent hub refuses a client: it is closed; what is known of it may be out of date (T-024)."""
        if self._clients is not None:
            self._clients.unauthorized(identity)
        self._refresher.refresh_refused(identity)

    def _chain_of(self, sender: str) -> str | None:
        """Auth chain for messages of a sender, None when it may not send."""
        try:
            chain = self._cache.upstream_chain(IdentityId.parse(sender))
        except ValueError:
            return None
        return None if chain is None else ";".join(chain)

    def _scope_api(self) -> ScopeApi | None:
        path = self._settings.upstream.identities_file
        if path:
            api = IdentitiesFile(Path(path))
            api.read()
            return api
        return self._upstream.scope_api if self._upstream is not None else None

    def _apply_local_routes(self) -> None:
        specs = [RouteSpec(name, text) for name, text in self._settings.local_routes]
        try:
            self.routes.apply_fixed(specs, self._settings.storage.default_ttl_secs)
        except DesiredConfigError as error:
            raise SettingsError(f"routes of the environment: {error}") from None

    def _sign_key(self) -> OwnKey:
        assert self._own_key is not None
        return self._own_key

    @property
    def _follow_twin(self) -> bool:
        upstream = self._settings.upstream
        return upstream.config_source == "twin" and not upstream.routes_file

    async def _sealer(self) -> Sealer | None:
        """Encrypts what is on disk and not messages; a hub without disk needs none."""
        if self._folder is None:
            return None
        if self._own_key is not None:
            return Sealer(await self._own_key.sign(SEALING_CONTEXT))
        return Sealer(secret_of_file(self._folder.secret_file))

    def _rest_routes(self) -> Iterable[RouteDef]:
        """A hub that takes no clients takes none on behalf of others either."""
        if self._clients is None:
            return
        yield from self._clients.rest_routes()
        if self._settings.clients.nested_edge:
            from edgehub.child_parts import child_routes  # noqa: PLC0415 - only with the HTTP head

            registry = None if self._upstream is None else self._upstream.registry
            yield from child_routes(
                self._cache,
                self._refresher,
                self._clients.authenticator,
                registry,
                self.clock,
                self._clients.forwarded,
            )

    def _messages_ready(self) -> None:
        if self._upstream is not None:
            self._upstream.messages_ready()

    def _need_state(self) -> StateStore:
        assert self._state is not None
        return self._state

    def _need_core(self) -> HubCore:
        assert self._core is not None
        return self._core


def _workload_client(identity: HubIdentity) -> WorkloadClient | None:
    if identity.workload_uri is None:
        return None
    return WorkloadClient(identity.workload_uri, identity.id.module_id or "", identity.generation_id)


def _own_key(identity: HubIdentity, workload: WorkloadClient | None) -> OwnKey | None:
    if identity.key is not None:
        return LocalKey(identity.key)
    return WorkloadKey(workload) if workload is not None else None
