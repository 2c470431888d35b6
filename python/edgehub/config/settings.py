"""The settings table: every environment variable that takes effect, by section.

Each field carries its row (name, reader, default, unit, documentation). `edgehub.config.load` fills the
sections once at start; nothing is read again later. The reference page `docs/configuration.md` is
generated from here and from `edgehub.config.inactive`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgehub.config.desired import OVERFLOW_POLICIES
from edgehub.config.head_settings import HttpSettings, MqttSettings
from edgehub.config.rows import setting
from edgehub.config.ssl_protocols import ALL_VERSIONS
from edgehub.config.values import (
    BOOL,
    COUNT,
    INT,
    PORT,
    SECS,
    TEXT,
    TLS_VERSIONS,
    choice,
    integer,
    optional,
)

STORE_BYTES_LEAST = 256 * 1024
"""Less makes no sense as a limit of the store: its files have this size at least."""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Who the hub is"""

    device_id: str = setting("IOTEDGE_DEVICEID", TEXT, "", "Device id of this edge device.")
    module_id: str = setting("IOTEDGE_MODULEID", TEXT, "$edgeHub", "Module id of the hub.")
    generation_id: str = setting(
        "IOTEDGE_MODULEGENERATIONID", TEXT, "", "Generation of the module identity, for the workload API."
    )
    hub_host: str = setting(
        "IOTEDGE_IOTHUBHOSTNAME",
        TEXT,
        "",
        "Host name of the IoT Hub; also accepted as the host of a client's token.",
    )
    gateway_host: str = setting(
        "IOTEDGE_GATEWAYHOSTNAME",
        TEXT,
        "",
        "Host name of the parent edge device in a nested set-up: the upstream address.",
    )
    edge_host: str = setting(
        "EDGEDEVICEHOSTNAME",
        TEXT,
        "",
        "Host name of this edge device: in the server certificate, and accepted as the host of a token.",
    )
    workload_uri: str = setting(
        "IOTEDGE_WORKLOADURI",
        TEXT,
        "",
        "Workload API that signs for the hub and issues its certificate (`unix:///...`, `http://...`).",
    )
    connection_string: str = setting(
        "IotHubConnectionString",
        TEXT,
        "",
        "Connection string of the module `$edgeHub`, for a run without agent. With `GatewayHostName` it "
        "points at a parent edge device. Wins over the `IOTEDGE_*` variables.",
        secret=True,
    )
    server_certificate_file: str = setting(
        "EdgeHubDevServerCertificateFile",
        TEXT,
        "",
        "PEM file with the server certificate and its chain, for a run without agent.",
    )
    server_key_file: str = setting(
        "EdgeHubDevServerPrivateKeyFile", TEXT, "", "PEM file with the private key of the server certificate."
    )
    trust_bundle_file: str = setting(
        "EdgeHubDevTrustBundleFile",
        TEXT,
        "",
        "PEM file with certificates to trust beside the system's: of the parent or of a self-hosted hub; "
        "also the authorities that may vouch for devices with certificates.",
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Storage and durability"""

    folder: str = setting(
        "StorageFolder",
        TEXT,
        "",
        "Existing base folder; data is in its sub-folder `edgeHub`. Empty: the system's temporary folder.",
    )
    persistent: bool = setting(
        "UsePersistentStorage", BOOL, True, "`false` keeps messages, sessions and caches in memory only."
    )
    optimize_for_performance: bool = setting(
        "OptimizeForPerformance",
        BOOL,
        True,
        "`false` saves memory on small devices: smaller buffers, caches and segments, no buffer pool; "
        "see [memory.md](memory.md).",
    )
    sync: str = setting(
        "StoreSync",
        choice("group", "interval", "none"),
        "group",
        "When a message counts as stored: `group` acknowledges after the disk has it, `interval` after the "
        "write with a sync every `StoreSyncIntervalMs`, `none` leaves syncing to the system. With `group`, "
        "messages of QoS 0, for whose storing nobody waits, are delivered after the write and synced with "
        "the next others, or within a second.",
        own=True,
    )
    sync_interval_ms: int = setting(
        "StoreSyncIntervalMs",
        integer(1, 3_600_000),
        1000,
        "Period of the sync with `StoreSync=interval`.",
        unit="ms",
        own=True,
    )
    sync_min_interval_ms: int = setting(
        "StoreSyncMinIntervalMs",
        integer(0, 60_000),
        0,
        "Least time between two syncs, to spare flash memory; acknowledgements wait for it.",
        unit="ms",
        own=True,
    )
    spill_index_entries: int | None = setting(
        "StoreSpillIndexEntries",
        optional(integer(1, 1_000_000)),
        None,
        "Queued messages, once for each queue, that are kept at hand (16 bytes of memory each). If there are "
        "more for 2 s, old ones are moved to compressed files. Unset: 250,000, or 65,536 with "
        "`OptimizeForPerformance=false`, where 250,000 is the most.",
        own=True,
    )
    max_size_bytes: int | None = setting(
        "StoreMaxSizeBytes",
        optional(integer(STORE_BYTES_LEAST, 2**63 - 1)),
        None,
        "What stored messages may take where the `$edgeHub` twin has no `storeLimits`. Unset: no limit.",
        unit="B",
        own=True,
    )
    overflow_policy: str = setting(
        "StoreOverflowPolicy",
        choice(*OVERFLOW_POLICIES),
        OVERFLOW_POLICIES[0],
        "What gives way when messages take all they may, or the disk is full, where the twin has no "
        "`storeLimits.overflowPolicy`: new messages, the oldest, or the oldest of the lowest priority.",
        own=True,
    )
    default_ttl_secs: int = setting(
        "timeToLiveSecs",
        INT,
        -1,
        "Time to live of a stored message until the `$edgeHub` twin says otherwise. Negative: for ever; "
        "0: expires at once.",
        unit="s",
        aliases=("storeAndForward__timeToLiveSecs",),
    )
    encrypt_twins: bool = setting(
        "EncryptTwinStore", BOOL, True, "Stored twins of clients are encrypted; both forms are read."
    )


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Upstream"""

    protocol: str = setting(
        "UpstreamProtocol",
        choice("Amqp", "AmqpWs", "Mqtt", "MqttWs"),
        "Amqp",
        "Protocol of the link to the parent hub. Only `Amqp` is built so far.",
        lenient=True,
    )
    amqp_port: int = setting(
        "UpstreamAmqpPort", integer(1, 65535), 5671, "Port of the parent hub for AMQP over TLS.", own=True
    )
    https_port: int = setting(
        "UpstreamHttpsPort", integer(1, 65535), 443, "Port of the parent hub for HTTPS.", own=True
    )
    config_source: str = setting(
        "configSource",
        choice("twin", "local"),
        "twin",
        "Where routes come from: the `$edgeHub` twin, or the environment (`routes__<name>=<route>`).",
    )
    routes_file: str = setting(
        "RoutesFile",
        TEXT,
        "",
        "JSON file with the desired properties of `$edgeHub` (or a whole deployment manifest), for a run "
        "without parent hub. Wins over `configSource`.",
        own=True,
    )
    identities_file: str = setting(
        "IdentitiesFile",
        TEXT,
        "",
        "JSON file with the devices and modules that may connect, in the form of the scope API's answer, "
        "for a run without parent hub.",
        own=True,
    )
    batch_msgs_max: int = setting(
        "MaxUpstreamBatchSize", integer(1, 1000), 10, "Messages of one sender in one send to the parent hub."
    )
    fan_out: int = setting(
        "UpstreamFanOutFactor",
        integer(1, 100),
        10,
        "Senders whose messages travel upstream at the same time.",
    )
    operation_timeout_s: int = setting(
        "CloudOperationTimeoutSecs", COUNT, 20, "Limit of one operation towards the parent hub.", unit="s"
    )
    connectivity_check_s: int = setting(
        "ConnectivityCheckFrequencySecs",
        INT,
        300,
        "Quiet time after which the parent hub is probed; negative: never.",
        unit="s",
    )
    config_refresh_s: int = setting(
        "ConfigRefreshFrequencySecs",
        COUNT,
        3600,
        "Period of reading the whole `$edgeHub` twin again.",
        unit="s",
    )
    reported_sync_s: int = setting(
        "ReportedPropertiesSyncFrequencySecs",
        SECS,
        5,
        "Least time between two updates of reported properties, of the hub and of each client.",
        unit="s",
    )
    twin_refresh_gap_s: int = setting(
        "MinTwinSyncPeriodSecs",
        SECS,
        120,
        "Least age of the copy of a twin that is read again when the parent hub is back. Of a client that "
        "follows its desired properties it is always read.",
        unit="s",
    )
    heartbeat: bool = setting(
        "UseServerHeartbeat",
        BOOL,
        True,
        "Asks the parent hub for frames at least every 60 s, to notice a dead link.",
    )


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Clients and security"""

    clients_max: int = setting(
        "MaxConnectedClients", COUNT, 100, "Clients that may be connected at once; more are refused."
    )
    ack_timeout_s: int = setting(
        "MessageAckTimeoutSecs",
        integer(1, 86_400),
        30,
        "Time a client has to acknowledge a message before it is sent again.",
        unit="s",
    )
    scope_refresh_s: int = setting(
        "DeviceScopeCacheRefreshRateSecs", COUNT, 3600, "Period of reading all identities again.", unit="s"
    )
    scope_refresh_gap_s: int = setting(
        "DeviceScopeCacheRefreshDelaySecs",
        SECS,
        120,
        "Least time between two reads of one identity, or of all, that failed authentications ask for.",
        unit="s",
    )
    certificate_renew_after_ms: int = setting(
        "ServerCertificateRenewAfterInMs",
        integer(1),
        2_147_483_647,
        "Forces the renewal of a server certificate from the workload API after this time.",
        unit="ms",
    )
    client_certificates: bool = setting(
        "ClientCertAuthEnabled",
        BOOL,
        True,
        "Asks clients for a certificate in the TLS handshake; they need not have one. A device that sends no "
        "token proves itself with it, by its thumbprint or by an authority of the trust bundle.",
    )
    tls_versions: tuple[str, ...] = setting(
        "SslProtocols",
        TLS_VERSIONS,
        ALL_VERSIONS,
        "TLS versions to offer, as a list. Unknown names are left out with a warning; if none is known, all "
        "versions are offered.",
    )
    nested_edge: bool = setting(
        "NestedEdgeEnabled", BOOL, True, "Accepts child edge devices that connect on behalf of their clients."
    )


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Metrics, logging and the process"""

    log_level: str = setting(
        "RuntimeLogLevel",
        TEXT,
        "info",
        "verbose, debug, info, warning, error or fatal; anything else means info.",
    )
    metrics_enabled: bool = setting(
        "metrics__listener__MetricsEnabled",
        BOOL,
        True,
        "`false` leaves only `/healthz` on the metrics port.",
        aliases=("MetricsEnabled",),
    )
    metrics_host: str = setting(
        "httpSettings__metrics_host",
        TEXT,
        "",
        "Address of the metrics port. Empty: all addresses.",
        own=True,
    )
    metrics_port: int = setting(
        "httpSettings__metrics_port",
        PORT,
        9600,
        "Plain HTTP port of `/metrics` and `/healthz`; 0: any free port, printed at start.",
    )
    control_nice: int = setting(
        "ControlPlaneNice",
        integer(0, 19),
        5,
        "Nice value of the threads that answer for clients (CONNECT, subscriptions, metrics, the link to the "
        "parent hub). Those that carry messages keep the nice value of the process, so that a busy control "
        "plane does not delay messages where both share a core.",
        own=True,
    )
    shutdown_wait_s: int = setting(
        "ShutdownWaitPeriod",
        integer(1, 3600),
        60,
        "Longest orderly shutdown after SIGTERM or SIGINT.",
        unit="s",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    identity: IdentitySettings = field(default_factory=IdentitySettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    clients: ClientSettings = field(default_factory=ClientSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)
    local_routes: tuple[tuple[str, str], ...] = ()
    """Name and text of `routes__<name>`, for `configSource=local`."""

    @property
    def pools_buffers(self) -> bool:
        """`mqttSettings__UsePooledBuffers`; unset, it follows `OptimizeForPerformance`."""
        chosen = self.mqtt.pooled_buffers
        return self.storage.optimize_for_performance if chosen is None else chosen

    @property
    def puback_timeout_ms(self) -> int:
        """What a client has to acknowledge a message: the shorter of its two settings, milliseconds."""
        own_ms = self.mqtt.receive_ack_timeout_ms
        message_ms = self.clients.ack_timeout_s * 1000
        return min(own_ms, message_ms) if own_ms else message_ms

    @property
    def retransmissions_max(self) -> int | None:
        """How often in a row a client may miss that time; `None`: for ever."""
        limited = self.mqtt.receive_ack_timeout_ms > 0 and self.mqtt.retransmissions_max >= 0
        return self.mqtt.retransmissions_max if limited else None


SECTIONS = {
    "identity": IdentitySettings,
    "storage": StorageSettings,
    "upstream": UpstreamSettings,
    "clients": ClientSettings,
    "mqtt": MqttSettings,
    "http": HttpSettings,
    "process": ProcessSettings,
}
