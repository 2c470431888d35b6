"""What the hub needs from outside, as protocols: the core, and the link to the parent hub.

Only `edgehub.app` knows the real classes; tests put fakes here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgehub._core import Event, Grants, RouteFault, UpstreamBatch

RouteTuple: TypeAlias = tuple[str, str, int | None, int]
"""Name, text, priority or None, time to live in seconds or 0 to inherit."""


class SessionCore(Protocol):
    """The part of `edgehub._core.Engine` that answers connections. Calls for a connection that is gone
    are ignored by the core."""

    def accept(
        self,
        conn: int,
        grants: Grants,
        *,
        session_present: bool,
        subscriptions: Sequence[tuple[str, int, int]] = (),
        inputs_active: bool = False,
    ) -> None: ...
    def refuse(self, conn: int, code: int) -> None: ...
    def suback(
        self,
        conn: int,
        packet_id: int,
        codes: bytes,
        added: Sequence[tuple[str, int, int]],
        *,
        inputs_active: bool,
    ) -> None: ...
    def unsuback(self, conn: int, packet_id: int, removed: Sequence[str], *, inputs_active: bool) -> None: ...
    def puback(self, conn: int, packet_id: int) -> None: ...
    def request_done(self, conn: int) -> None: ...
    def send(
        self,
        conn: int,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        token: int | None = None,
        created_ms: int | None = None,
    ) -> None: ...
    def close(self, conn: int, reason: str, *, after_acks: bool = False) -> None: ...


class EventCore(Protocol):
    """The part of the engine that hands out events."""

    def event_fd(self) -> int: ...
    def next_events(self, events_max: int = 256) -> list[Event]: ...
    def hold(self) -> None: ...
    def flush(self) -> None: ...


class RoutesCore(Protocol):
    """The part of the engine that takes routes and the limits of the store."""

    def set_routes(self, routes: Sequence[RouteTuple], *, default_ttl_secs: int) -> None: ...

    def set_quota(self, bytes_max: int | None, overflow_policy: str) -> None: ...


class TwinCore(Protocol):
    """The part of the engine that routes changes of twins."""

    def twin_changed(self, device_id: str, module_id: str | None, patch: bytes) -> None: ...


class MetricsCore(Protocol):
    """The part of the engine that counts."""

    def metrics(self) -> dict[str, object]: ...


class UpstreamCore(Protocol):
    """The part of the engine that lends messages to the link."""

    def upstream_take(
        self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int
    ) -> list[UpstreamBatch]: ...
    def upstream_settle(self, token: int, outcome: str) -> None: ...
    def upstream_link_down(self) -> None: ...


class HubCore(SessionCore, EventCore, RoutesCore, TwinCore, MetricsCore, UpstreamCore, Protocol):
    """All of `edgehub._core.Engine` that the hub uses."""

    def start(self) -> None: ...
    def stop(self, drain_ms: int) -> None: ...
    def listen(
        self,
        host: str,
        port: int,
        tls_chain_pem: bytes | None = None,
        tls_key_pem: bytes | None = None,
        *,
        tls_versions: Sequence[str] | None = None,
        client_certificates: bool = False,
    ) -> tuple[int, int]: ...
    def set_tls(self, listener: int, chain_pem: bytes, key_pem: bytes) -> None: ...
    def adopt(self, fd: int, peer: str) -> None: ...
    def close_listener(self, listener: int) -> None: ...


class EngineFactory(Protocol):
    """`edgehub._core.Engine`."""

    def __call__(  # noqa: PLR0913 - the options of the core
        self,
        *,
        edge_device_id: str,
        storage_dir: str | None = None,
        sync: str = "group",
        sync_interval_ms: int = 1000,
        sync_min_interval_ms: int = 0,
        spill_index_entries: int | None = None,
        io_threads: int | None = 0,
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
    ) -> HubCore: ...


class CoreModule(Protocol):
    """`edgehub._core`, or a stand-in."""

    @property
    def Engine(self) -> EngineFactory: ...
    @property
    def Grants(self) -> GrantsFactory: ...
    @property
    def CoreError(self) -> type[Exception]: ...
    @property
    def check_routes(self) -> CheckRoutes: ...


class GrantsFactory(Protocol):
    """`edgehub._core.Grants`, or a stand-in."""

    def __call__(
        self,
        *,
        device_id: str,
        module_id: str | None = None,
        telemetry_topics: Sequence[str],
        inputs_endpoint_prefix: str | None = None,
        inputs_topic_prefixes: Sequence[str] = (),
        model_id: str | None = None,
    ) -> Grants: ...


CheckRoutes: TypeAlias = "Callable[[str, Sequence[RouteTuple]], Sequence[RouteFault]]"
"""`edgehub._core.check_routes`: edge device id and routes -> faults."""


ChainOf: TypeAlias = Callable[[str], str | None]
"""Auth chain of a sender (`device` or `device/module`), None when it may not send."""


class HubTwin(Protocol):
    """The twin of this hub's own module `$edgeHub` at the parent hub."""

    async def get_desired(self) -> Mapping[str, Any]:
        """The whole desired document with `$version`.

        :raises EdgehubError: no answer.
        """
        ...

    async def patch_reported(self, patch: Mapping[str, Any]) -> str | None:
        """Merges a patch into the reported properties; why it will never be taken, None when it was.

        :raises EdgehubError: no answer, or none for good.
        """
        ...


class LinkListener(Protocol):
    """Learns about the link; called on the event loop, must not block."""

    def link_up(self) -> None:
        """The parent hub answers."""
        ...

    def link_down(self, reason: str) -> None:
        """It no longer does."""
        ...

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """The desired properties of our module, or of a client that is followed, changed."""
        ...

    def desired_missed(self, identity: str) -> None:
        """They may have changed unseen, because the parent hub did not follow them for a while."""
        ...

    def client_unauthorized(self, identity: str) -> None:
        """The parent hub refuses to serve a client, although it takes us."""
        ...


class UpstreamLink(Protocol):
    """The connection to the parent hub."""

    def set_listener(self, listener: LinkListener) -> None:
        """Whom to tell; before `start`."""
        ...

    async def start(self) -> None:
        """Starts connecting in the background and returns at once."""
        ...

    async def stop(self) -> None:
        """Finishes what is in flight, within its own time limit, and disconnects."""
        ...

    def messages_ready(self) -> None:
        """There may be messages to take from the core."""
        ...

    def kick(self) -> None:
        """The network or the device scope has changed: waits end now."""
        ...
