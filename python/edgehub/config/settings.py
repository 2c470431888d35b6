"""The settings table: every environment variable that takes effect, by section.

Each field carries its row (name, reader, default, unit, documentation). `edgehub.config.load` fills the
sections once at start; nothing is read again later. The reference page `docs/configuration.md` is
generated from here and from `edgehub.config.inactive`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgehub.config.desired import OVERFLOW_POLICIES
from edgehub.config.rows import setting
from edgehub.config.ssl_protocols import ALL_VERSIONS
from edgehub.config.values import (
    BOOL,
    COUNT,
    INT,
    PORT,
    SECS,
    TEXT,
    TIME_SPAN_MS,
    TLS_VERSIONS,
    choice,
    integer,
    optional,
    property_name,
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
        "PEM file with certificates to trust beside the system's: of the parent or of a self-hosted hub.",
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
        "Least time between two updates of reported properties.",
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
        "Asks clients for a certificate in the TLS handshake; they need not have one. A client that shows a "
        "certificate and no password is refused in this version.",
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
class MqttSettings:
    """MQTT head"""

    enabled: bool = setting("mqttSettings__enabled", BOOL, True, "Turns the MQTT head on.")
    host: str = setting(
        "mqttSettings__host",
        TEXT,
        "",
        "Address to listen on. Empty: all addresses, IPv6 and IPv4.",
        own=True,
    )
    port: int = setting(
        "mqttSettings__port", PORT, 8883, "TLS port; 0: any free port, printed at start.", own=True
    )
    plain_port: int | None = setting(
        "mqttSettings__plain_port",
        optional(PORT),
        None,
        "Also listens without TLS, on 127.0.0.1 alone, for development and measurements. Tokens cross it "
        "readable.",
        own=True,
    )
    io_threads: int = setting(
        "IoThreads",
        integer(0, 64),
        0,
        "Threads that serve MQTT sockets; 0: chosen by the usable cores.",
        own=True,
    )
    sender_of_topic: bool = setting(
        "mqttSettings__SenderOfTopic",
        BOOL,
        False,
        "Takes telemetry under another identity's topic as that of the other, as the reference does: whoever "
        "may connect can then write in the name of everybody. Otherwise it is dropped.",
        own=True,
    )
    sent_renews_keep_alive: bool = setting(
        "mqttSettings__SentRenewsKeepAlive",
        BOOL,
        False,
        "What the hub sends to a client counts as a sign of its life, as with the reference: dead peers are "
        "noticed later.",
        own=True,
    )
    pooled_buffers: bool | None = setting(
        "mqttSettings__UsePooledBuffers",
        optional(BOOL),
        None,
        "Whether message buffers are pooled, and nothing else. Unset: as `OptimizeForPerformance`.",
    )
    packet_bytes_max: int = setting(
        "mqttSettings__MaxInboundMessageSize",
        integer(1024, 268_435_455),
        262_144,
        "Largest packet a client may send; a larger one ends the connection.",
        unit="bytes",
    )
    connect_timeout_ms: int = setting(
        "mqttSettings__ConnectArrivalTimeout",
        TIME_SPAN_MS,
        60_000,
        "Time a new connection has to send CONNECT.",
    )
    keep_alive_max_ms: int = setting(
        "mqttSettings__MaxKeepAliveTimeout",
        TIME_SPAN_MS,
        600_000,
        "Longest silence of a client; also holds for clients without keep-alive.",
    )
    listen_backlog: int = setting(
        "mqttSettings__ListenBacklogSize", integer(1, 65_535), 200, "Connections waiting to be accepted."
    )
    retain_property: str = setting(
        "mqttSettings__RetainPropertyName",
        property_name(),
        "mqtt-retain",
        "Property with the value `true` that the RETAIN flag of a publish or a will becomes.",
    )
    dup_property: str = setting(
        "mqttSettings__DupPropertyName",
        property_name(),
        "mqtt-dup",
        "Property with the value `true` that the DUP flag of a publish becomes.",
    )
    qos_property: str = setting(
        "mqttSettings__QoSPropertyName",
        property_name(),
        "mqtt-qos",
        "Property of a message, 0 or 1, that limits the QoS of its delivery.",
    )
    delivery_qos: int = setting(
        "mqttSettings__DefaultPublishToClientQoS",
        integer(0, 2),
        1,
        "Limits the QoS of the delivery of messages without that property; QoS 2 is never used.",
        aliases=("mqttSettings__IotHubClient.DefaultPublishToClientQoS",),
    )
    service_prefix: str = setting(
        "mqttSettings__ServicePropertyPrefix",
        property_name(0),
        "",
        "Prefix of the name of the property `MessageType=Will` of wills.",
    )
    receive_ack_timeout_ms: int = setting(
        "mqttSettings__DeviceReceiveAckTimeout",
        TIME_SPAN_MS,
        0,
        "Time a client has to acknowledge a message before it is sent again, where that is shorter than "
        "`MessageAckTimeoutSecs`; zero: that alone counts.",
    )
    retransmissions_max: int = setting(
        "mqttSettings__MaxOutboundRetransmissionCount",
        integer(-1, 1_000_000),
        -1,
        "How often in a row a client may miss that time before it is disconnected; its messages stay. "
        "Negative, or without `mqttSettings__DeviceReceiveAckTimeout`: for ever.",
        aliases=("mqttSettings__IotHubClient.MaxOutboundRetransmissionCount",),
    )
    abort_on_bad_puback: bool = setting(
        "mqttSettings__AbortOnOutOfOrderPubAck",
        BOOL,
        False,
        "`true` disconnects a client whose PUBACK is not for the message that was sent to it first.",
    )
    unauthenticated_max: int | None = setting(
        "MaxUnauthenticatedConnections",
        optional(integer(1, 1_000_000)),
        None,
        "Connections that may be open without an accepted CONNECT; further ones wait in the kernel. Unset: "
        "1,000, or 200 with `OptimizeForPerformance=false`.",
        own=True,
    )
    connects_per_s: int = setting(
        "MaxConnectsPerSecond",
        integer(0, 1_000_000),
        0,
        "New connections that are taken in a second, before their TLS handshake; the others wait in the "
        "kernel for their turn. 0: any number.",
        own=True,
    )


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """HTTP head"""

    enabled: bool = setting(
        "httpSettings__enabled",
        BOOL,
        True,
        "Turns the HTTP head on, which carries MQTT over WebSocket. It needs a server certificate.",
    )
    host: str = setting(
        "httpSettings__host",
        TEXT,
        "",
        "Address to listen on. Empty: all addresses, IPv6 and IPv4.",
        own=True,
    )
    port: int = setting("httpSettings__port", PORT, 443, "TLS port; 0: any free port, printed at start.")


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
