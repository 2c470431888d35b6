"""Rows of the settings table that belong to one protocol head each."""

from __future__ import annotations

from dataclasses import dataclass

from edgehub.config.rows import setting
from edgehub.config.values import (
    BOOL,
    PORT,
    TEXT,
    TIME_SPAN_MS,
    integer,
    optional,
    property_name,
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
        "Turns the HTTP head on: MQTT over WebSocket, method calls, and child edge devices. It needs a "
        "server certificate.",
    )
    host: str = setting(
        "httpSettings__host",
        TEXT,
        "",
        "Address to listen on. Empty: all addresses, IPv6 and IPv4.",
        own=True,
    )
    port: int = setting("httpSettings__port", PORT, 443, "TLS port; 0: any free port, printed at start.")
    proxy_module_id: str = setting(
        "ApiProxyModuleId",
        TEXT,
        "IoTEdgeAPIProxy",
        "Module of this device that may pass on certificates of WebSocket clients, in the header "
        "x-ms-edge-clientcert and with a token of its own.",
    )
