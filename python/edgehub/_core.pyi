"""The Rust core: sockets, sessions, routing, queues. Control plane only; no telemetry crosses here.

All calls are safe from the event-loop thread and return at once; those that wait say so and release
the GIL. Nothing in the core ever calls into Python: wake-ups come through `Engine.event_fd`.

The router as a library is here too; its public names are those of `edgehub.router`.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, TypeAlias, final

__all__ = [
    "ClosedEvent",
    "Condition",
    "ConfigError",
    "ConnectEvent",
    "CoreError",
    "Delivery",
    "Engine",
    "Explanation",
    "Grants",
    "ListenError",
    "LogEvent",
    "MessageError",
    "NoticeEvent",
    "PublishEvent",
    "Report",
    "RouteError",
    "RouteFault",
    "RouteReport",
    "Router",
    "SendDoneEvent",
    "StoreError",
    "StoreFailedEvent",
    "StoreFinding",
    "StoreInspector",
    "StoreLoss",
    "StoreLossTotal",
    "StoreMessages",
    "StoreQueue",
    "StoreSegment",
    "StoreSpillBlock",
    "StoreSpillFile",
    "StoredMessage",
    "SubscribeEvent",
    "UnsubscribeEvent",
    "UpstreamBatch",
    "UpstreamReadyEvent",
    "Will",
    "__version__",
    "aes_gcm_open",
    "aes_gcm_seal",
    "check",
    "check_routes",
    "encode",
    "encode_many",
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
    """Something wrong, or hardly meant, in one route.

    Lines and columns count from 1, columns in UTF-16 code units; the end is exclusive. What is not about a
    place in the text is at 1:1-1:1.
    """

    route: str
    """Name of the route; empty where the whole set, or a condition on its own, is meant."""
    code: str
    """Stable name of the kind, such as `syntax` or `binary-operands`."""
    message: str
    hint: str | None
    """What would be right instead, where the message does not say it."""
    line: int
    column: int
    end_line: int
    end_column: int
    @property
    def text(self) -> str:
        """The message, followed by the hint if there is one."""

class RouteError(CoreError):
    """Routes, or a condition, that do not compile. `faults` lists every error of every route."""

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
    """The listener it came through, 0 for an adopted connection."""
    client_id: str
    username: str | None
    password: bytes | None
    clean_session: bool
    keep_alive_secs: int
    will: Will | None
    certificates: tuple[bytes, ...]
    """What the client showed in its TLS handshake, DER, its own first: at most 9, of 32 KiB together. It has
    the key of the first; nothing else was checked."""

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

    Once the request is done, answer with `Engine.puback`, or with `Engine.request_done` where `packet_id` is
    0. What the client sends behind it waits until then.
    """

    conn: int
    packet_id: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool

@final
class SendDoneEvent:
    """What became of an `Engine.send` with a token. Comes exactly once for each while the engine runs."""

    conn: int
    token: int
    outcome: str
    """`acked` by the client, `sent` with quality of service 0, `no_subscription`, `too_old` (created before
    the subscription), `overflow` (64 with tokens are not acknowledged, or the client does not read),
    `not_encodable`, `closed` (before it was acknowledged)."""

@final
class NoticeEvent:
    """Something worth one log line that did not end the connection; at most one per kind and connection."""

    conn: int
    kind: str
    """`foreign_topic`, `unknown_topic`, `bad_properties`, `message_too_large` or `unexpected_ack`."""
    detail: str

@final
class ClosedEvent:
    """A connection ended. Only a `SendDoneEvent` may come after it; numbers are never reused."""

    conn: int
    peer: str
    accepted: bool
    """Whether the session had been accepted."""
    reason: str
    """`disconnect` (by the client's DISCONNECT), `eof`, `reset`, `protocol_error`, `packet_too_large`,
    `connect_timeout`, `keep_alive_timeout`, `ack_timeout`, `tls_error`, `refused`,
    `unsupported_protocol_level`, `server` (by `Engine.close`; `detail` is its reason), `store_error`,
    `shutdown`."""
    detail: str

@final
class UpstreamReadyEvent:
    """There may be messages for `Engine.upstream_take`. Edge-triggered: comes again only after a take
    returned less than it could."""

@final
class StoreFailedEvent:
    """The store failed for good; nothing is acknowledged any more. The process should end with 1."""

    detail: str

@final
class LogEvent:
    """The core has something for the log. At most 256 lines wait; what is lost then is told in one more."""

    level: int
    """Of Python's `logging`."""
    source: str
    """The part that says it: `net`, `engine`, `store`, `core`."""
    text: str
    """At most 500 bytes."""

Event = (
    ConnectEvent
    | SubscribeEvent
    | UnsubscribeEvent
    | PublishEvent
    | SendDoneEvent
    | NoticeEvent
    | ClosedEvent
    | UpstreamReadyEvent
    | StoreFailedEvent
    | LogEvent
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
        inputs_topic_prefixes: Sequence[str] = ...,
        model_id: str | None = None,
    ) -> Grants:
        """
        :param telemetry_topics: topics without trailing slash that carry telemetry of this identity, e.g.
            `devices/d1/messages/events`; the rest of a published topic is its property bag.
        :param inputs_endpoint_prefix: endpoints whose messages this session receives, e.g. `edge1/mod1/`.
        :param inputs_topic_prefixes: e.g. `devices/edge1/modules/mod1/inputs/`, for each spelling of the ids;
            the first that a filter of the client matches is used.
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
        spill_index_entries: int | None = None,
        io_threads: int | None = ...,
        low_memory: bool = False,
        pooled_buffers: bool = True,
        packet_bytes_max: int = 262144,
        connect_timeout_ms: int = 60000,
        keep_alive_max_ms: int = 600000,
        ack_timeout_ms: int = 30000,
        connections_max: int = 4096,
        unauthenticated_max: int | None = None,
        listen_backlog: int = 200,
        retransmissions_max: int | None = None,
        abort_on_bad_puback: bool = False,
        retain_property: str = "mqtt-retain",
        dup_property: str = "mqtt-dup",
        qos_property: str = "mqtt-qos",
        delivery_qos: int = 1,
        will_property: str = "MessageType",
        connects_per_s: int = 0,
        log_level: int = 30,
        sender_of_topic: bool = False,
        sent_renews_keep_alive: bool = False,
        message_bytes_max: int = 262144,
        closes_on_drop: bool = False,
    ) -> Engine:
        """Opens the store and recovers it; may take seconds after a crash. Releases the GIL.

        :param storage_dir: existing folder, or None for a store in memory.
        :param sync: `group`, `interval` or `none`.
        :param spill_index_entries: with more queued messages, old ones go to compressed files; None chooses
            by `low_memory`.
        :param io_threads: 0, the default, chooses by the number of usable cores. None: nobody is served,
            `start` starts no thread and `listen` fails; routes, the store and the way upstream work.
        :param low_memory: smaller buffers, caches and segments; docs/memory.md.
        :param pooled_buffers: whether emptied buffers are kept for some seconds; whatever `low_memory` is.
        :param retransmissions_max: how often in a row a client may let `ack_timeout_ms` pass before it is
            closed; None: for ever.
        :param abort_on_bad_puback: a PUBACK that is not for the message sent first ends the connection.
        :param retain_property: property that a RETAIN flag becomes; `dup_property` for DUP.
        :param qos_property: property of a message that limits the QoS of its delivery; without it
            `delivery_qos`, 0 to 2, does.
        :param will_property: property that has the value `Will` in a will.
        :param unauthenticated_max: connections without session; the others wait in the kernel. None chooses
            by `low_memory`.
        :param connects_per_s: connections that listeners take in a second; 0 for any number. The others wait
            in the kernel.
        :param log_level: of Python's `logging`: lines of less come not as `LogEvent`. For the whole process.
        :param sender_of_topic: takes telemetry under another identity's topic as that of the other.
        :param sent_renews_keep_alive: what is sent to a client counts as a sign of its life.
        :param message_bytes_max: body and properties of a message; a larger one is dropped.
        :param closes_on_drop: a publish that is dropped (too large, unreadable properties, topic of another
            identity or of nobody) ends its connection; else it is acknowledged.
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
        self,
        host: str,
        port: int,
        tls_chain_pem: bytes | None = None,
        tls_key_pem: bytes | None = None,
        *,
        tls_versions: Sequence[str] | None = None,
        client_certificates: bool = False,
    ) -> tuple[int, int]:
        """Opens an MQTT listener; TLS when a certificate is given.

        :param port: 0 for any free port.
        :param tls_versions: `1.2`, `1.3` or both; None means both.
        :param client_certificates: asks clients for a certificate. They need not have one; any is taken, of
            which they prove to have the key: `ConnectEvent.certificates`.
        :returns: listener id and port.
        :raises ListenError:
        """

    def set_tls(self, listener: int, chain_pem: bytes, key_pem: bytes) -> None:
        """Replaces the certificate of a TLS listener; connections stay. Releases the GIL.

        :raises ListenError: chain and key cannot be used; the old ones stay.
        :raises ConfigError: there is no such listener, or it has no TLS.
        """

    def adopt(self, fd: int, peer: str) -> None:
        """Serves one end of a connected pair of stream sockets as a plain MQTT connection.

        The engine takes a copy of the descriptor; the caller closes its own. Whoever keeps the other end
        moves bytes between it and the client. The connection counts for the limits like any other; beyond
        them it is closed at once. `ConnectEvent.listener` is 0.

        :param peer: address of the client, for the log.
        :raises ConfigError: the descriptor is no end of such a pair.
        """

    def close_listener(self, listener: int) -> None: ...
    def event_fd(self) -> int:
        """File descriptor that is readable while events wait; drained by `next_events`."""

    def next_events(self, events_max: int = 256) -> list[Event]: ...
    def hold(self) -> None:
        """Keeps the answers below until `flush`, so that I/O threads are woken once for all of them."""

    def flush(self) -> None:
        """Passes on, in order, what was kept since `hold`; from then on answers pass at once again."""

    def accept(
        self,
        conn: int,
        grants: Grants,
        *,
        session_present: bool,
        subscriptions: Sequence[tuple[str, int, int]] = ...,
        inputs_active: bool = False,
    ) -> None:
        """Answers CONNACK 0. A connection that is gone meanwhile is ignored, as with all calls below.

        :param subscriptions: restored filters with granted quality of service and wall-clock time of the
            first SUBSCRIBE in milliseconds.
        :param inputs_active: whether one of them asks for module messages.
        """

    def refuse(self, conn: int, code: int) -> None:
        """Answers CONNACK with a return code of 1 to 5 and closes."""

    def suback(
        self,
        conn: int,
        packet_id: int,
        codes: bytes,
        added: Sequence[tuple[str, int, int]],
        *,
        inputs_active: bool,
    ) -> None:
        """Adds or changes filters and answers SUBACK with one code per requested filter.

        :param added: as `subscriptions` of `accept`.
        """

    def unsuback(self, conn: int, packet_id: int, removed: Sequence[str], *, inputs_active: bool) -> None: ...
    def puback(self, conn: int, packet_id: int) -> None:
        """Acknowledges a `PublishEvent`."""

    def request_done(self, conn: int) -> None:
        """Ends a `PublishEvent` without packet id."""

    def send(
        self,
        conn: int,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        token: int | None = None,
        created_ms: int | None = None,
    ) -> None:
        """Publishes once to one client if one of its filters matches; quality of service is capped by it.

        :param token: asks for a `SendDoneEvent`, and for the client's acknowledgement without a time limit.
        :param created_ms: wall clock; only a subscription that is not younger gets it. None is now.
        """

    def twin_changed(self, device_id: str, module_id: str | None, patch: bytes) -> None:
        """Routes an update of reported properties (JSON) from `/twinChangeNotifications`, in the name of the
        client. It is stored like a message; what routes do with it nobody learns."""

    def close(self, conn: int, reason: str, *, after_acks: bool = False) -> None:
        """Closes without will. `reason` comes back in the `ClosedEvent`.

        :param after_acks: once what it published so far is acknowledged; nothing more is read of it. Asked
            for again after 30 s: at once.
        """

    def set_routes(
        self, routes: Sequence[tuple[str, str, int | None, int]], *, default_ttl_secs: int
    ) -> None:
        """Replaces all routes at once, or none.

        :param routes: name, route text, priority or None for the default, time to live in seconds or 0 to
            inherit.
        :param default_ttl_secs: negative for ever, 0 expires at once.
        :raises RouteError: with every fault of every route; the routes in force stay.
        """

    def set_quota(self, bytes_max: int | None, overflow_policy: str) -> None:
        """Limits what stored messages may take, from now on.

        :param bytes_max: None for no limit but that of the disk; 1 and less mean that nothing is stored.
        :param overflow_policy: `rejectNew`, `dropOldest` or `dropLowestPriority`; on a full disk, too.
        :raises ConfigError: another policy.
        """

    def upstream_take(
        self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int
    ) -> list[UpstreamBatch]:
        """Leases messages for the parent hub: at most one outstanding batch per sender."""

    def upstream_settle(self, token: int, outcome: str) -> None:
        """Ends a batch: `delivered`, `rejected` (dropped, counted) or `retry` (back to the queue)."""

    def upstream_link_down(self) -> None:
        """Returns every outstanding batch to the queue, in order."""

    def memory_budget(self) -> dict[str, int]:
        """Sizes and limits in force of every place that may hold a buffer, by the names in docs/memory.md."""

    def metrics(self) -> dict[str, object]:
        """Totals since start; see `edgehub.metrics` for their names. Cheap, safe to call often."""

Message: TypeAlias = Mapping[str, Any]
"""A message: `source`, `systemProperties`, `properties`, `body` or `bodyBase64`; see `edgehub.router`."""
Verdict: TypeAlias = Literal["true", "false", "undefined"]
Routes: TypeAlias = Mapping[str, str | Mapping[str, Any] | None]
"""Name -> route text, or `{"route", "priority", "timeToLiveSecs"}` from schema 1.1 on; None in 1.0 alone."""

class MessageError(ValueError):
    """A message that cannot be read. The text names the key, and the place in a batch."""

@final
class Delivery:
    """One endpoint that a message goes to. Equal if all attributes are."""

    __match_args__: ClassVar[tuple[str, str, str, str]]
    endpoint: str
    """`iothub`, or `{edgeDeviceId}/{module}/{input}`."""
    route: str
    """Name of the route that decided."""
    priority: int
    """0 (highest) to 9, or 2000000000 for a route that names none."""
    ttl_secs: int
    """Seconds that the message may wait; 0 takes the setting of the hub."""

    def __new__(cls, endpoint: str, route: str, priority: int, ttl_secs: int) -> Delivery: ...
    def __getnewargs__(self) -> tuple[str, str, int, int]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Explanation:
    """What all routes make of one message. `str()` of it is its text."""

    @property
    def text(self) -> str:
        """For a terminal: plain text, control characters escaped, long values cut."""

    @property
    def json(self) -> str:
        """One JSON object in one line, with stable keys in camelCase."""

    @property
    def data(self) -> dict[str, Any]:
        """The same as a dictionary, made anew each time."""

@final
class Router:
    """Compiled routes. Safe to use from many threads; the set may be replaced meanwhile.

    A message that goes to several routes of one endpoint is delivered once, by the best of them: lowest
    priority number, then first declared.
    """

    def __new__(cls, routes: Routes, *, edge_device_id: str = "device", schema: str = "1.1") -> Router:
        """Compiles all routes, or none. Releases the GIL.

        :param edge_device_id: device whose modules the endpoints belong to.
        :param schema: schema version of the declaration, any 1.x; 1.0 takes strings only, skips blank ones.
        :raises RouteError: with every fault of every route.
        :raises TypeError: `routes` is no mapping with names.
        :raises ValueError: an unknown schema.
        """

    def match(self, message: Message | bytes) -> tuple[Delivery, ...]:
        """Where a message goes: by priority, then declaration; empty if no route takes it.

        :param message: a mapping, or what `encode` made of one.
        :raises MessageError:
        """

    def match_many(self, messages: Iterable[Message] | Iterable[bytes]) -> list[tuple[Delivery, ...]]:
        """Where each message goes, all by one set of routes. Releases the GIL while it matches.

        :raises MessageError: the first message that cannot be read; nothing is returned.
        """

    def match_encoded(self, data: bytes) -> list[tuple[Delivery, ...]]:
        """The same for messages encoded one after another, which are read where they lie.

        :raises MessageError: as above.
        """

    def verdicts(self, message: Message | bytes) -> dict[str, Verdict]:
        """The verdict of every route whose source matches, whether or not another one goes first.

        :raises MessageError:
        """

    def verdicts_many(self, messages: Iterable[Message] | Iterable[bytes]) -> list[dict[str, Verdict]]:
        """The verdicts on each message, all by one set of routes. Releases the GIL while it evaluates.

        :raises MessageError: the first message that cannot be read; nothing is returned.
        """

    def explain(self, message: Message | bytes) -> Explanation:
        """Why a message goes where it goes. For people and tools: much slower than `match`.

        :raises MessageError:
        """

    def replace(self, routes: Routes) -> None:
        """Puts other routes in force, all or none; calls that have begun end with the routes before.

        :raises RouteError: as at construction; the routes in force stay.
        """

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes, as declared."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Ids of the endpoints, in the order of the routes that lead there first."""

@final
class Condition:
    """A compiled condition, without a route around it. What follows a complete condition is ignored."""

    text: str
    def __new__(cls, text: str, *, twin_change_includes: bool = False) -> Condition:
        """
        :param twin_change_includes: whether the function of that name is known; routes do not have it.
        :raises RouteError: with every fault; their route is empty.
        """

    def evaluate(self, message: Message | bytes) -> Verdict:
        """The verdict; only `true` is a match.

        :raises MessageError:
        """

    @property
    def complexity(self) -> int:
        """Number of leaves of the parse tree: names, literals, operators and parentheses."""

@final
class RouteReport:
    """What `check` says about one route."""

    errors: list[RouteFault]
    warnings: list[RouteFault]

@final
class Report:
    """What `check` says about all routes."""

    valid: bool
    """Whether there is no error; warnings do not count."""
    routes: dict[str, RouteReport]
    """Every declared route. Faults of the set as a whole are under the empty name, which comes first."""

def check(routes: Routes, *, edge_device_id: str = "device", schema: str = "1.1") -> Report:
    """Checks routes without using them: each is looked at, whatever is wrong with others. Releases the GIL.

    :raises TypeError: `routes` is no mapping with names.
    :raises ValueError: an unknown schema.
    """

def encode(message: Message) -> bytes:
    """Encodes one message, to be matched later, elsewhere, or many times.

    :raises MessageError:
    """

def encode_many(messages: Iterable[Message]) -> bytes:
    """Encodes messages one after another, as `Router.match_encoded` takes them.

    :raises MessageError: the first message that cannot be read.
    """

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

@final
class StoreQueue:
    """One queue as the files of a store have it. Times are milliseconds since 1970 UTC.

    A removed one is empty and only keeps its numbering. `messages` are those not acknowledged, expired ones
    included; `bytes` are those of their records, or of uncompressed entries for the `spilled` of them, which
    are in `spill_bytes` of spill files. `head_seq` is the number of the first of them (the checkpoint if some
    are spilled), `next_seq` the one that the next message to come gets. Expiries are rounded up to a second;
    None if nothing expires.
    """

    id: int
    endpoint: str
    priority: int
    removed: bool
    messages: int
    bytes: int
    spilled: int
    spill_bytes: int
    head_seq: int
    next_seq: int
    oldest_enqueued_ms: int | None
    newest_enqueued_ms: int | None
    first_expiry_ms: int | None
    last_expiry_ms: int | None
    never_expiring: int

@final
class StoreSegment:
    """One segment file. `unreadable`: the disk could not read all of it."""

    number: int
    name: str
    state: Literal["last", "full", "spent", "prepared", "behind", "unreadable", "aside"]
    bytes: int
    used_bytes: int
    base: int
    created_ms: int | None
    messages: int
    unreadable: bool

@final
class StoreSpillFile:
    """One spill file. `messages` are those that are wanted, those in damaged blocks included.

    Its `blocks` that count cover the numbers `first_seq` to `end_seq`, exclusive. `last_expiry_ms` is None if
    some message never expires, or if nothing is wanted.
    """

    queue: int
    number: int
    name: str
    state: Literal["complete", "open", "spent", "unreadable", "aside", "behind"]
    bytes: int
    messages: int
    blocks: int
    first_seq: int
    end_seq: int
    last_expiry_ms: int | None

@final
class StoreSpillBlock:
    """A block of a spill file in which `messages` are wanted: those with numbers from `from_seq` on.

    The frame of its header is at `offset` of the file.
    """

    file: str
    offset: int
    from_seq: int
    messages: int

@final
class StoreFinding:
    """Bytes of a file that are not readable: damaged, or the torn end of what was not yet durable."""

    kind: Literal["damaged", "torn"]
    file: str
    offset: int
    bytes: int

@final
class StoreLossTotal:
    """Messages that left one queue undelivered for one cause, since the folder of the store was made.

    Queue 0 stands for all queues that are not listed, because there are too many. The endpoint is empty when
    the queue's definition is lost. 0 is the highest priority.
    """

    queue: int
    endpoint: str
    priority: int
    cause: Literal["expired", "endpoint_removed", "damaged", "rejected", "quota"]
    messages: int

@final
class StoreLoss:
    """Messages that left one queue together for one cause, when the store noticed.

    `first_seq` is the number of the first message; the others have higher numbers, not always adjacent ones.
    """

    at_ms: int
    queue: int
    endpoint: str
    priority: int
    cause: Literal["expired", "endpoint_removed", "damaged", "rejected", "quota"]
    first_seq: int
    messages: int

@final
class StoredMessage:
    """A message as stored."""

    def __new__(cls, seq: int, expires_at_ms: int | None, payload: bytes) -> StoredMessage:
        """For those who read a spill file themselves."""

    @property
    def seq(self) -> int: ...
    @property
    def expires_at_ms(self) -> int | None:
        """None if it never expires."""

    @property
    def payload(self) -> bytes: ...
    def decode(self) -> dict[str, Any]:
        """`source`, `enqueuedAtMs`, `systemProperties`, `properties` and `body` (bytes).

        :raises ValueError: the payload is no message of the hub.
        """

@final
class StoreMessages:
    """Walks over the messages of a queue; one payload or block of a spill file is in memory at a time."""

    def __iter__(self) -> StoreMessages: ...
    def __next__(self) -> StoredMessage:
        """The next message. After an error the walk goes on behind the message or block in question.

        :raises StoreError: it cannot be read any more.
        """

    def __length_hint__(self) -> int: ...

@final
class StoreInspector:
    """What the files of a store hold, read once. Locks and changes nothing: the folder may be in use."""

    def __new__(cls, folder: str | PathLike[str], *, verify: bool = False) -> StoreInspector:
        """Reads all segments; takes as long as a recovery. Releases the GIL.

        :param verify: also reads every block of the spill files.

        :raises StoreError: not a store, of a newer format, or it cannot be read.
        """

    def queues(self) -> list[StoreQueue]:
        """By id, those of removed endpoints too."""

    def segments(self) -> list[StoreSegment]:
        """By number."""

    def spill_files(self) -> list[StoreSpillFile]:
        """By queue and number."""

    def findings(self) -> list[StoreFinding]:
        """In the order of the log, then those in spill files; at most 10,000."""

    def loss_totals(self) -> list[StoreLossTotal]:
        """Messages that left the queues undelivered since the folder was made, by queue and cause."""

    def losses(self) -> list[StoreLoss]:
        """The last 1000 losses, oldest first."""

    @property
    def losses_written_ms(self) -> int | None:
        """When the file of losses was written, milliseconds since 1970 UTC; None when there is none."""

    @property
    def losses_error(self) -> str | None:
        """Why the file of losses cannot be read; then the two lists are empty."""

    @property
    def findings_more(self) -> int:
        """Findings beyond those."""

    @property
    def missed(self) -> int:
        """Files that came or went while the folder was read, at every attempt; messages may be missing."""

    @property
    def is_sound(self) -> bool:
        """Whether everything that had been durable can be read, as far as it was. A torn end is no damage."""

    @property
    def batches(self) -> int:
        """Good batches."""

    @property
    def records(self) -> int:
        """Records in them."""

    @property
    def orphaned(self) -> int:
        """Messages of queues whose definition is damaged."""

    @property
    def lost(self) -> int:
        """Messages that damage took, as far as the numbers of others tell; once per queue."""

    @property
    def torn_bytes(self) -> int:
        """Bytes at the end of the log that are not whole."""

    @property
    def damaged_bytes(self) -> int:
        """Bytes that had been durable and are not readable."""

    @property
    def wall_skew_ms(self) -> int:
        """How much the wall clock is ahead of the store's time, which expiries are in, as it stood last."""

    def peek(self, queue_id: int, count: int) -> StoreMessages:
        """The next messages of a queue, at most `count`.

        :raises KeyError: no such queue.
        """

    def export(self, queue_id: int) -> StoreMessages:
        """All messages of a queue.

        :raises KeyError: no such queue.
        """

    def journal(self, queue_id: int) -> StoreMessages:
        """Those of them that are not in spill files.

        :raises KeyError: no such queue.
        """

    def spill_blocks(self, queue_id: int) -> list[StoreSpillBlock]:
        """Where those are that come before them, in order.

        :raises KeyError: no such queue.
        """
