"""Settings and limits of the hub, built once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iothub.c2d.model import C2dLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Named limits; what happens at each stands beside it.

    :ivar connections_max: AMQP connections; more are closed at once.
    :ivar link_credit: messages a device may have unacknowledged per link; the device waits.
    :ivar ingest_bytes_max: bytes waiting for the telemetry log; no socket is read until half of it is stored.
    :ivar message_bytes_max: body and application properties of one message; larger is rejected.
    :ivar link_message_bytes_max: one transfer, that is one message or batch; larger detaches the link.
    :ivar open_timeout_secs: a connection that has not opened by then is closed.
    :ivar tokens_max: CBS tokens on one connection; a further put-token is answered 403.
    :ivar control_queue_max: attaches, token and twin requests waiting on one connection; from a quarter
        of it on the connection is not read, and more than that closes it.
    :ivar twin_queue_max: twin messages waiting for a device's credit; more detaches its twin link.
    :ivar method_queue_max: method calls waiting for a client's credit; more detaches its link.
    :ivar c2d: of cloud-to-device messages.
    :ivar telemetry_bytes_max: payload bytes kept in the telemetry log; the oldest events are dropped.
    :ivar telemetry_age_secs: older events are dropped.
    :ivar https_connections_max: HTTPS connections, WebSockets among them; further ones wait in the kernel.
    :ivar http_body_bytes_max: larger requests get 413.
    :ivar http_requests_max: requests being served, but for those that wait for the answer of a device; a
        further one is answered 429.
    :ivar tails_max: telemetry streams at the same time; a further one is answered 429.
    :ivar mqtt_connections_max: MQTT clients, WebSockets among them; a further one gets CONNACK 3.
    :ivar mqtt_store_bytes_max: MQTT messages that wait for the telemetry log; publishers then wait.
    """

    connections_max: int = 10_000
    link_credit: int = 100
    ingest_bytes_max: int = 32 * 1024 * 1024
    message_bytes_max: int = 262_144
    link_message_bytes_max: int = 1_048_576
    open_timeout_secs: float = 60.0
    tokens_max: int = 10_000
    control_queue_max: int = 4096
    twin_queue_max: int = 64
    method_queue_max: int = 128
    c2d: C2dLimits = field(default_factory=C2dLimits)
    telemetry_bytes_max: int = 4 * 1024 * 1024 * 1024
    telemetry_age_secs: int = 7 * 24 * 3600
    https_connections_max: int = 12_000
    http_body_bytes_max: int = 1_048_576
    http_requests_max: int = 256
    tails_max: int = 64
    mqtt_connections_max: int = 10_000
    mqtt_store_bytes_max: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How to run one hub.

    :ivar data_dir: created if missing; holds the databases, certificates and the owner's connection string.
    :ivar hostname: name that clients use and that tokens are for.
    :ivar host: address to bind.
    :ivar amqp_port: 0 for any free port.
    :ivar https_port: 0 for any free port.
    :ivar cert_file: PEM chain; without it the hub makes a CA and a server certificate in `data_dir`.
    :ivar key_file: PEM key for `cert_file`.
    :ivar database_url: PostgreSQL database of the registry; without it that is a file in `data_dir`. It may
        hold a password, so it is not shown.
    :ivar client_ca_file: PEM authorities that vouch for `certificateAuthority` devices.
    :ivar client_certs_file: PEM certificates of `selfSigned` devices.
    :ivar clock: Unix time.
    :ivar mqtt_port: 0 for any free port; None: no MQTT, over WebSocket neither.
    """

    data_dir: Path
    hostname: str
    host: str = "0.0.0.0"
    amqp_port: int = 5671
    https_port: int = 443
    cert_file: Path | None = None
    key_file: Path | None = None
    database_url: str | None = field(default=None, repr=False)
    client_ca_file: Path | None = None
    client_certs_file: Path | None = None
    limits: HubLimits = field(default_factory=HubLimits)
    clock: Callable[[], float] = time.time
    mqtt_port: int | None = None
