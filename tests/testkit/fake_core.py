"""A stand-in for `edgehub._core`: the same names and signatures, recording calls instead of moving bytes.

Events are pushed by the test; calls are kept in order as `Call(name, arguments)`.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.hub.ports import CoreModule

__version__ = "0.0.0"

_ROUTE = re.compile(r"\s*FROM\s+\S+.*INTO\s+\S+.*", re.IGNORECASE | re.DOTALL)


class CoreError(Exception):
    """Root of the core's errors."""


class ConfigError(CoreError):
    """An option that cannot work."""


class ListenError(CoreError):
    """A listener that cannot be opened."""


class StoreError(CoreError):
    """A store that cannot be opened."""


class RouteError(CoreError):
    """Routes that do not compile."""

    def __init__(self, faults: list[RouteFault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


@dataclass(frozen=True)
class RouteFault:
    route: str
    message: str
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 2
    code: str = "syntax"
    hint: str | None = None

    @property
    def text(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True)
class ConnectEvent:
    conn: int
    client_id: str
    username: str | None
    password: bytes | None
    peer: str = "127.0.0.1:50000"
    listener: int = 1
    clean_session: bool = False
    keep_alive_secs: int = 60
    will: Will | None = None
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class SubscribeEvent:
    conn: int
    packet_id: int
    filters: list[tuple[str, int]]


@dataclass(frozen=True)
class UnsubscribeEvent:
    conn: int
    packet_id: int
    filters: list[str]


@dataclass(frozen=True)
class PublishEvent:
    conn: int
    packet_id: int
    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False


@dataclass(frozen=True)
class SendDoneEvent:
    conn: int
    token: int
    outcome: str = "acked"


@dataclass(frozen=True)
class NoticeEvent:
    conn: int
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class ClosedEvent:
    conn: int
    peer: str = "127.0.0.1:50000"
    accepted: bool = True
    reason: str = "disconnect"
    detail: str = ""


@dataclass(frozen=True)
class UpstreamReadyEvent:
    pass


@dataclass(frozen=True)
class StoreFailedEvent:
    detail: str


@dataclass(frozen=True)
class LogEvent:
    level: int
    source: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Grants:
    device_id: str
    module_id: str | None = None
    telemetry_topics: Sequence[str]
    inputs_endpoint_prefix: str | None = None
    inputs_topic_prefixes: Sequence[str] = ()
    model_id: str | None = None


@dataclass(frozen=True)
class UpstreamBatch:
    token: int
    sender: str
    count: int
    payload: bytes
    message_format: int = 0


@dataclass(frozen=True)
class Call:
    """One call of the hub."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.arguments[name]
        except KeyError:
            raise AttributeError(name) from None


def check_routes(edge_device_id: str, routes: Sequence[tuple[str, str, int | None, int]]) -> list[RouteFault]:
    """Only the rough shape of a route is checked: `FROM ... INTO ...`, without the word `BAD`."""
    return [
        RouteFault(name, "Syntax error.", 1, 1, 1, len(text) + 1)
        for name, text, _, _ in routes
        if not _ROUTE.fullmatch(text) or "BAD" in text
    ]


class Engine:
    """Records calls; `push` and `next_events` play the event queue."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.calls: list[Call] = []
        self.events: deque[Any] = deque()
        self.totals: dict[str, object] = {}
        self.batches: list[UpstreamBatch] = []
        self.listeners: dict[int, tuple[str, int, bytes | None]] = {}
        self.started = False
        self.held = False
        self.stopped = False
        self.adopted: list[socket.socket] = []
        self.fail_listen: str | None = None
        self.fail_adopt: str | None = None
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # For tests

    def push(self, *events: Any) -> None:
        """Queues events and makes the descriptor readable."""
        self.events.extend(events)
        os.eventfd_write(self._fd, 1)

    def take_calls(self, *names: str) -> list[Call]:
        """Calls since the last time, or those of them with one of the names."""
        calls, self.calls = self.calls, []
        return [call for call in calls if not names or call.name in names]

    def dispose(self) -> None:
        os.close(self._fd)
        for end in self.adopted:
            end.close()

    # The core's surface

    def start(self) -> None:
        self.started = True

    def stop(self, drain_ms: int) -> None:
        self._record("stop", drain_ms=drain_ms)
        self.stopped = True
        for end in self.adopted:
            end.close()

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
        if self.fail_listen is not None:
            raise ListenError(self.fail_listen)
        listener = len(self.listeners) + 1
        self.listeners[listener] = (host, port, tls_chain_pem)
        self._record(
            "listen",
            host=host,
            port=port,
            tls=tls_chain_pem is not None,
            tls_versions=tls_versions,
            client_certificates=client_certificates,
        )
        return listener, port or 40_000 + listener

    def set_tls(self, listener: int, chain_pem: bytes, key_pem: bytes) -> None:
        if self.fail_listen is not None:
            raise ListenError(self.fail_listen)
        self._record("set_tls", listener=listener, chain_pem=chain_pem)

    def close_listener(self, listener: int) -> None:
        del self.listeners[listener]
        self._record("close_listener", listener=listener)

    def adopt(self, fd: int, peer: str) -> None:
        if self.fail_adopt is not None:
            raise CoreError(self.fail_adopt)
        self.adopted.append(socket.socket(fileno=os.dup(fd)))
        self._record("adopt", peer=peer)

    def event_fd(self) -> int:
        return self._fd

    def next_events(self, events_max: int = 256) -> list[Any]:
        taken = [self.events.popleft() for _ in range(min(events_max, len(self.events)))]
        if not self.events:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._fd)
        return taken

    def hold(self) -> None:
        self.held = True

    def flush(self) -> None:
        self.held = False

    def accept(
        self,
        conn: int,
        grants: Any,
        *,
        session_present: bool,
        subscriptions: Sequence[tuple[str, int, int]] = (),
        inputs_active: bool = False,
    ) -> None:
        self._record(
            "accept",
            conn=conn,
            grants=grants,
            session_present=session_present,
            subscriptions=list(subscriptions),
            inputs_active=inputs_active,
        )

    def refuse(self, conn: int, code: int) -> None:
        self._record("refuse", conn=conn, code=int(code))

    def suback(
        self,
        conn: int,
        packet_id: int,
        codes: bytes,
        added: Sequence[tuple[str, int, int]],
        *,
        inputs_active: bool,
    ) -> None:
        self._record(
            "suback",
            conn=conn,
            packet_id=packet_id,
            codes=codes,
            added=list(added),
            inputs_active=inputs_active,
        )

    def unsuback(self, conn: int, packet_id: int, removed: Sequence[str], *, inputs_active: bool) -> None:
        self._record(
            "unsuback", conn=conn, packet_id=packet_id, removed=list(removed), inputs_active=inputs_active
        )

    def puback(self, conn: int, packet_id: int) -> None:
        self._record("puback", conn=conn, packet_id=packet_id)

    def request_done(self, conn: int) -> None:
        self._record("request_done", conn=conn)

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
        call = {"conn": conn, "topic": topic, "payload": payload, "qos": qos}
        self._record("send", **call, token=token, created_ms=created_ms)

    def twin_changed(self, device_id: str, module_id: str | None, patch: bytes) -> None:
        self._record("twin_changed", device_id=device_id, module_id=module_id, patch=patch)

    def close(self, conn: int, reason: str, *, after_acks: bool = False) -> None:
        self._record("close", conn=conn, reason=reason, after_acks=after_acks)

    def set_routes(
        self, routes: Sequence[tuple[str, str, int | None, int]], *, default_ttl_secs: int
    ) -> None:
        faults = check_routes("", routes)
        if faults:
            raise RouteError(faults)
        self._record("set_routes", routes=list(routes), default_ttl_secs=default_ttl_secs)

    def set_quota(self, bytes_max: int | None, overflow_policy: str) -> None:
        self._record("set_quota", bytes_max=bytes_max, overflow_policy=overflow_policy)

    def upstream_take(
        self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int
    ) -> list[UpstreamBatch]:
        taken, self.batches = self.batches[:senders_max], self.batches[senders_max:]
        return taken

    def upstream_settle(self, token: int, outcome: str) -> None:
        self._record("upstream_settle", token=token, outcome=outcome)

    def upstream_link_down(self) -> None:
        self._record("upstream_link_down")

    def metrics(self) -> dict[str, object]:
        return dict(self.totals)

    def _record(self, name: str, **arguments: Any) -> None:
        self.calls.append(Call(name, arguments))


# Its classes are not the core's, so the type checker has to be told that they serve as such.
core_module = cast("CoreModule", sys.modules[__name__])
