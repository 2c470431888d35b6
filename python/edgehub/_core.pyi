"""The Rust core: sockets, sessions, routing, queues. Control plane only; no telemetry crosses here.

All calls are safe from the event-loop thread and return at once; those that wait say so and release
the GIL. Nothing in the core ever calls into Python: wake-ups come through `Engine.event_fd`.
"""

from collections.abc import Sequence
from typing import final

__all__ = [
    "ClosedEvent",
    "ConfigError",
    "ConnectEvent",
    "CoreError",
    "Engine",
    "Grants",
    "ListenError",
    "NoticeEvent",
    "PublishEvent",
    "RouteError",
    "RouteFault",
    "StoreError",
    "StoreFailedEvent",
    "SubscribeEvent",
    "UnsubscribeEvent",
    "UpstreamBatch",
    "UpstreamReadyEvent",
    "Will",
    "__version__",
    "aes_gcm_open",
    "aes_gcm_seal",
    "check_routes",
]
__version__: str

class CoreError(Exception):
    """Root of the core's errors. The text says what was wrong and what would be right."""

class ConfigError(CoreError):
    """An option has a value that cannot work."""

class ListenError(CoreError):
    """A listener could not be opened: address in use, no permission, bad certificate or key."""

class StoreError(CoreError):
    """The store could not be opened, or failed while running."""

@final
class RouteFault:
    """One error in one route; lines and columns count from 1, the end is exclusive."""

    route: str
    message: str
    line: int
    column: int
    end_line: int
    end_column: int

class RouteError(CoreError):
    """Routes that do not compile. `faults` lists every error of every route."""

    faults: list[RouteFault]

@final
class Will:
    """The last will of a CONNECT packet."""

    topic: str
    payload: bytes
    qos: int
    retain: bool

@final
class ConnectEvent:
    """A client sent CONNECT and waits. Answer with `Engine.accept` or `Engine.refuse`."""

    conn: int
    peer: str
    """Address and port of the client."""
    listener: int
    client_id: str
    username: str | None
    password: bytes | None
    clean_session: bool
    keep_alive_secs: int
    will: Will | None

@final
class SubscribeEvent:
    """A client sent SUBSCRIBE. Answer with `Engine.suback`; the connection waits until then."""

    conn: int
    packet_id: int
    filters: list[tuple[str, int]]
    """Filter and requested quality of service, in the order of the packet; never empty."""

@final
class UnsubscribeEvent:
    """A client sent UNSUBSCRIBE. Answer with `Engine.unsuback`; the connection waits until then."""

    conn: int
    packet_id: int
    filters: list[str]

@final
class PublishEvent:
    """A client published to a control topic (`$iothub/...`). Not a telemetry message, ever.

    With `packet_id` not 0, answer with `Engine.puback` once the request is done.
    """

    conn: int
    packet_id: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool

@final
class NoticeEvent:
    """Something worth one log line that did not end the connection; at most one per kind and connection."""

    conn: int
    kind: str
    """`foreign_topic`, `unknown_topic`, `bad_properties` or `message_too_large`."""
    detail: str

@final
class ClosedEvent:
    """A connection ended. The last event of its number; numbers are never reused."""

    conn: int
    peer: str
    accepted: bool
    """Whether the session had been accepted."""
    reason: str
    """`disconnect` (by the client's DISCONNECT), `eof`, `reset`, `protocol_error`, `packet_too_large`,
    `connect_timeout`, `keep_alive_timeout`, `tls_error`, `refused`, `unsupported_protocol_level`,
    `server` (by `Engine.close`; `detail` is its reason), `store_error`, `shutdown`."""
    detail: str

@final
class UpstreamReadyEvent:
    """There may be messages for `Engine.upstream_take`. Edge-triggered: comes again only after a take
    returned less than it could."""

@final
class StoreFailedEvent:
    """The store failed for good; nothing is acknowledged any more. The process should end with 1."""

    detail: str

Event = (
    ConnectEvent
    | SubscribeEvent
    | UnsubscribeEvent
    | PublishEvent
    | NoticeEvent
    | ClosedEvent
    | UpstreamReadyEvent
    | StoreFailedEvent
)

@final
class Grants:
    """What a session may do; decided once in Python, applied per message in Rust."""

    def __new__(
        cls,
        *,
        device_id: str,
        module_id: str | None = None,
        telemetry_topics: Sequence[str],
        inputs_endpoint_prefix: str | None = None,
        inputs_topic_prefix: str | None = None,
        model_id: str | None = None,
    ) -> Grants:
        """
        :param telemetry_topics: topics without trailing slash that carry telemetry of this identity, e.g.
            `devices/d1/messages/events`; the rest of a published topic is its property bag.
        :param inputs_endpoint_prefix: endpoints whose messages this session receives, e.g. `edge1/mod1/`.
        :param inputs_topic_prefix: e.g. `devices/edge1/modules/mod1/inputs/`.
        """

@final
class UpstreamBatch:
    """Messages of one sender, encoded for AMQP 1.0."""

    token: int
    sender: str
    """`device` or `device/module`."""
    count: int
    payload: bytes
    """One bare AMQP message, or with `message_format` 0x80013700 a batch of them."""
    message_format: int

@final
class Engine:
    def __new__(
        cls,
        *,
        edge_device_id: str,
        storage_dir: str | None = None,
        sync: str = "group",
        sync_interval_ms: int = 1000,
        sync_min_interval_ms: int = 0,
        io_threads: int = 0,
        low_memory: bool = False,
        pooled_buffers: bool = True,
        packet_bytes_max: int = 262144,
        connect_timeout_ms: int = 60000,
        keep_alive_max_ms: int = 600000,
        ack_timeout_ms: int = 30000,
        connections_max: int = 4096,
        listen_backlog: int = 200,
    ) -> Engine:
        """Opens the store and recovers it; may take seconds after a crash. Releases the GIL.

        :param storage_dir: existing folder, or None for a store in memory.
        :param sync: `group`, `interval` or `none`.
        :param io_threads: 0 chooses by the number of usable cores.
        :raises ConfigError: an option is out of range.
        :raises StoreError: the store cannot be opened.
        """

    def start(self) -> None:
        """Starts the I/O threads. Listeners are opened with `listen`."""

    def stop(self, drain_ms: int) -> None:
        """Stops accepting, finishes what is in flight for at most `drain_ms`, closes the sessions and the
        store. Releases the GIL. Idempotent.

        :raises StoreError: the last commit failed.
        """

    def listen(
        self, host: str, port: int, tls_chain_pem: bytes | None = None, tls_key_pem: bytes | None = None
    ) -> tuple[int, int]:
        """Opens an MQTT listener; TLS when a certificate is given.

        :param port: 0 for any free port.
        :returns: listener id and port.
        :raises ListenError:
        """

    def close_listener(self, listener: int) -> None: ...
    def event_fd(self) -> int:
        """File descriptor that is readable while events wait; drained by `next_events`."""

    def next_events(self, events_max: int = 256) -> list[Event]: ...
    def accept(
        self,
        conn: int,
        grants: Grants,
        *,
        session_present: bool,
        subscriptions: Sequence[tuple[str, int]] = ...,
        inputs_active: bool = False,
    ) -> None:
        """Answers CONNACK 0. A connection that is gone meanwhile is ignored, as with all calls below.

        :param subscriptions: restored filters with granted quality of service.
        :param inputs_active: whether one of them asks for module messages.
        """

    def refuse(self, conn: int, code: int) -> None:
        """Answers CONNACK with a return code of 1 to 5 and closes."""

    def suback(
        self,
        conn: int,
        packet_id: int,
        codes: bytes,
        added: Sequence[tuple[str, int]],
        *,
        inputs_active: bool,
    ) -> None:
        """Adds or changes filters and answers SUBACK with one code per requested filter."""

    def unsuback(self, conn: int, packet_id: int, removed: Sequence[str], *, inputs_active: bool) -> None: ...
    def puback(self, conn: int, packet_id: int) -> None:
        """Acknowledges a `PublishEvent`."""

    def send(self, conn: int, topic: str, payload: bytes, qos: int) -> None:
        """Publishes to one client if one of its filters matches; quality of service is capped by it."""

    def close(self, conn: int, reason: str) -> None:
        """Closes without will. `reason` comes back in the `ClosedEvent`."""

    def set_routes(
        self, routes: Sequence[tuple[str, str, int | None, int]], *, default_ttl_secs: int
    ) -> None:
        """Replaces all routes at once, or none.

        :param routes: name, route text, priority or None for the default, time to live in seconds or 0 to
            inherit.
        :param default_ttl_secs: negative for ever, 0 expires at once.
        :raises RouteError: with every fault of every route; the routes in force stay.
        """

    def upstream_take(
        self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int
    ) -> list[UpstreamBatch]:
        """Leases messages for the parent hub: at most one outstanding batch per sender."""

    def upstream_settle(self, token: int, outcome: str) -> None:
        """Ends a batch: `delivered`, `rejected` (dropped, counted) or `retry` (back to the queue)."""

    def upstream_link_down(self) -> None:
        """Returns every outstanding batch to the queue, in order."""

    def metrics(self) -> dict[str, object]:
        """Totals since start; see `edgehub.metrics` for their names. Cheap, safe to call often."""

def check_routes(edge_device_id: str, routes: Sequence[tuple[str, str, int | None, int]]) -> list[RouteFault]:
    """Compiles routes and returns the faults, empty when all are right."""

def aes_gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM: the ciphertext and its tag of 16 bytes. Never use a nonce twice with one key.

    :param key: 32 bytes.
    :param nonce: 12 bytes.
    :raises CoreError: a key or nonce of another length.
    """

def aes_gcm_open(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    """Decrypts what `aes_gcm_seal` made with the same arguments; None when it was not.

    :raises CoreError: a key or nonce of another length.
    """
