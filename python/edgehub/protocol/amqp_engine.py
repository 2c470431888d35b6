"""AMQP 1.0 as a sans-IO engine over proton's C core: bytes in, events and bytes out, time passed in.

Who handles what (part 2 performatives):

| performative | proton | here | owner of the engine |
|---|---|---|---|
| SASL frames | - | `amqp_sasl` | judges PLAIN credentials (`sasl_decide`) |
| open, close | encodes, keeps state | options, heartbeats nobody asked for | decides, `open`/`close` |
| begin, end | windows, channels | byte limits | `AmqpSession.open`/`close` |
| attach, detach | handles | termini, properties, errors | `AmqpLink.open`/`refuse`/`close` |
| flow | credit | credit overruns become a detach | `AmqpLink.grant` |
| transfer | splits and joins frames | message format, size limits | `AmqpLink.send`, `Received` |
| disposition | delivery states | outcome with condition | `AmqpDelivery.accept`/`reject`, `Disposed` |

Call `feed`, then take `events`, act, then take `outbound`; ask `deadline` and call `on_deadline` when it
passes. Nothing raises because of what the peer sent: a broken peer ends in one `TransportFailed` event and
`finished`. Proton's `Container` and reactor are not used, nor its Python classes on the hot path: the C calls
cost a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import cproton  # type: ignore[import-untyped]
from cproton import ffi, lib

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import (
    AmqpEvent,
    ConnectionClosed,
    ConnectionOpened,
    Disposed,
    LinkAttached,
    LinkClosed,
    LinkCredit,
    Received,
    SaslPlain,
    SessionClosed,
    SessionOpened,
    TransportFailed,
)
from edgehub.protocol.amqp_frames import FormatReader, FormatWriter
from edgehub.protocol.amqp_handles import (
    AmqpDelivery,
    AmqpLink,
    AmqpSession,
    CPointer,
    pointer_key,
    read_fault,
    write_fault,
)
from edgehub.protocol.amqp_sasl import CODE_OK, SASL_HEADER, SaslClient, SaslError, SaslServer, plain_response
from edgehub.protocol.amqp_types import AmqpDecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_BYTES_MAX: Final = 65536
CHANNEL_MAX: Final = 8191
LINKS_MAX: Final = 32768
SESSION_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of incoming transfers that proton may hold for one session; closes the incoming window."""
MESSAGE_BYTES_MAX: Final = 1024 * 1024
PARTIAL_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of incomplete incoming messages on one connection; beyond, the connection is closed."""
_EMPTY_FRAME: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"
_AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
_HEADER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one connection behaves.

    :ivar role: which side we are.
    :ivar container_id: our name in the open frame.
    :ivar hostname: client only: the host in the open frame.
    :ivar idle_timeout_ms: advertised to the peer; a silent peer is dropped after twice this time. 0 = never.
    :ivar heartbeat_default_ms: empty frames at half this period for a peer that advertises no idle time-out;
        0 = none.
    :ivar sasl_mechanisms: server: what is offered to peers that start with SASL (they may also start
        without). Client: at most one, `()` starts without SASL.
    :ivar sasl_user: client with PLAIN.
    :ivar sasl_password: client with PLAIN.
    :ivar links_max: links on the connection, refused ones included until the peer has detached them; one more
        closes the connection.
    :ivar message_bytes_max: larger incoming messages detach their link.
    :ivar partial_bytes_max: bytes of incomplete messages on all links; more closes the connection.
    """

    role: Literal["client", "server"]
    container_id: str
    hostname: str | None = None
    idle_timeout_ms: int = 240_000
    heartbeat_default_ms: int = 0
    sasl_mechanisms: tuple[str, ...] = ()
    sasl_user: str = ""
    sasl_password: str = ""
    frame_bytes_max: int = FRAME_BYTES_MAX
    channel_max: int = CHANNEL_MAX
    links_max: int = LINKS_MAX
    session_bytes_max: int = SESSION_BYTES_MAX
    message_bytes_max: int = MESSAGE_BYTES_MAX
    partial_bytes_max: int = PARTIAL_BYTES_MAX


class AmqpEngine:
    """One AMQP connection. Not thread-safe; one owner."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self._transport: Any = cproton.pn_transport()
        self._connection: Any = cproton.pn_connection()
        self._collector: Any = cproton.pn_collector()
        self._configure_proton()
        self._events: list[AmqpEvent] = []
        self._out: list[bytes] = []
        self._reader = FormatReader(options.frame_bytes_max)
        self._writer: FormatWriter = FormatWriter()
        self._sessions: dict[int, AmqpSession] = {}
        self._links: dict[int, AmqpLink] = {}
        self._sasl: SaslServer | SaslClient | None = self._client_sasl()
        self._header = b""  # server: first bytes until the protocol is known
        self._header_known = options.role == "client"
        self._partial_bytes = 0
        self._format = 0  # message format of the transfer frame being pushed
        self._deadline: float | None = None
        self._beat_at: float | None = None
        self._failed = False
        self._failure_reported = False
        self._tail_closed = False
        self._tag_counter = 0
        self._handlers = self._event_table()

    def _configure_proton(self) -> None:
        options = self.options
        cproton.pn_connection_collect(self._connection, self._collector)
        if options.role == "server":
            cproton.pn_transport_set_server(self._transport)
        cproton.pn_transport_set_max_frame(self._transport, options.frame_bytes_max)
        cproton.pn_transport_set_channel_max(self._transport, options.channel_max)
        # Proton advertises half of what is set here and drops the peer at the whole (part 2, 2.4.5).
        cproton.pn_transport_set_idle_timeout(self._transport, 2 * options.idle_timeout_ms)
        cproton.pn_connection_set_container(self._connection, options.container_id)
        if options.hostname is not None:
            cproton.pn_connection_set_hostname(self._connection, options.hostname)
        cproton.pn_transport_bind(self._transport, self._connection)

    def _client_sasl(self) -> SaslClient | None:
        options = self.options
        if options.role == "server" or not options.sasl_mechanisms:
            return None
        mechanism = options.sasl_mechanisms[0]
        plain = mechanism == "PLAIN"
        response = plain_response(options.sasl_user, options.sasl_password) if plain else None
        return SaslClient(mechanism, response, options.hostname)

    def __del__(self) -> None:
        # Handles hold no references of their own, so this frees all C objects at once, in proton's order.
        owned = self.__dict__
        if "_collector" not in owned:
            return
        lib.pn_transport_unbind(owned["_transport"])
        lib.pn_decref(owned["_transport"])
        lib.pn_collector_release(owned["_collector"])
        lib.pn_connection_release(owned["_connection"])
        lib.pn_decref(owned["_connection"])
        lib.pn_collector_free(owned["_collector"])

    # ---- bytes in

    def feed(self, data: bytes) -> None:
        """Takes received bytes. Ignored once the connection has failed."""
        if self._failed or not data:
            return
        try:
            if not self._header_known:
                data = self._feed_header(data)
            if self._sasl is not None and data:
                data = self._feed_sasl(data)
        except AmqpDecodeError as error:
            self._fail(AmqpFault(amqp_errors.FRAMING_ERROR, str(error)))
            return
        self._feed_amqp(data)

    def _feed_header(self, data: bytes) -> bytes:
        """Server: SASL or not, by the first eight bytes. Wrong first bytes are refused as early as
        possible."""
        self._header += data
        head = self._header[:_HEADER_BYTES]
        if SASL_HEADER.startswith(head) or _AMQP_HEADER.startswith(head):
            if len(head) < _HEADER_BYTES:
                return b""
        else:
            self._out.append(SASL_HEADER)  # part 2, 2.2: answer with what we speak, then close
            raise SaslError("the peer does not speak AMQP 1.0")
        self._header_known = True
        rest, self._header = self._header, b""
        if head == SASL_HEADER and self.options.sasl_mechanisms:
            self._sasl = SaslServer(self.options.sasl_mechanisms)
            return rest[_HEADER_BYTES:]
        return rest

    def _feed_sasl(self, data: bytes) -> bytes:
        sasl = self._sasl
        assert sasl is not None
        had_credentials = isinstance(sasl, SaslServer) and sasl.awaits_decision
        sasl.feed(data)
        if isinstance(sasl, SaslServer) and sasl.awaits_decision and not had_credentials and sasl.credentials:
            self._events.append(SaslPlain(*sasl.credentials))
        return self._finish_sasl()

    def _finish_sasl(self) -> bytes:
        """What follows the SASL layer, once it is through."""
        sasl = self._sasl
        if sasl is None or sasl.outcome is None:
            return b""
        self._out.append(sasl.outbound())
        if sasl.outcome != CODE_OK:
            self._fail(AmqpFault(amqp_errors.UNAUTHORIZED, "SASL authentication failed"))
            return b""
        self._sasl = None
        return sasl.take_rest()

    def sasl_decide(self, accepted: bool) -> None:
        """Server: answers a `SaslPlain` event."""
        if isinstance(self._sasl, SaslServer) and self._sasl.awaits_decision:
            self._sasl.decide(accepted)
            self._feed_amqp(self._finish_sasl())

    def _feed_amqp(self, data: bytes) -> None:
        for piece, message_format in self._reader.feed(data):
            self._push(piece)
            if message_format:
                self._format = message_format
                self._collect()
                self._format = 0
            elif self._failed:
                return
        self._collect()

    def _push(self, piece: bytes) -> None:
        view = memoryview(piece)
        # Events of what came before must be read with their own format, so the collector is emptied first.
        self._collect()
        while view.nbytes:
            capacity = lib.pn_transport_capacity(self._transport)
            if capacity <= 0:
                return  # the transport has closed its tail; the error event says why
            chunk = view[:capacity]
            taken = lib.pn_transport_push(self._transport, ffi.from_buffer(chunk), len(chunk))
            if taken <= 0:
                return
            view = view[taken:]

    def feed_eof(self) -> None:
        """The peer closed its side of the stream."""
        if not self._tail_closed:
            self._tail_closed = True
            lib.pn_transport_close_tail(self._transport)
            self._collect()

    # ---- bytes out

    def outbound(self) -> bytes:
        """Bytes to send now, possibly none."""
        if self._sasl is not None:
            self._out.append(self._sasl.outbound())
        else:
            self._drain_transport()
        if not self._out:
            return b""
        out = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        return out

    def _drain_transport(self) -> None:
        transport = self._transport
        if not self._header_known or self._sasl is not None:
            return  # the server answers, it never speaks first; and SASL comes before AMQP
        while (pending := lib.pn_transport_pending(transport)) > 0:
            buffer = bytearray(pending)
            count = lib.pn_transport_peek(transport, ffi.from_buffer(buffer), pending)
            if count <= 0:
                return
            lib.pn_transport_pop(transport, count)
            self._out.append(self._writer.feed(bytes(buffer)))
        self._collect()

    @property
    def finished(self) -> bool:
        """Whether nothing more will come from `outbound`: the stream may be closed after what was taken
        last."""
        return self._failed or lib.pn_transport_pending(self._transport) < 0

    # ---- time

    def deadline(self) -> float | None:
        """When to call `on_deadline`, on the clock that is passed to it; None for never, 0 for at once."""
        return self._deadline

    def on_deadline(self, now: float) -> None:
        """Sends heartbeats that are due and fails a peer that went silent.

        Call it at every `deadline`.

        :param now: seconds of any monotonic clock; always the same one.
        """
        if self._failed:
            self._deadline = None
            return
        # Proton takes 0 for "no time yet", hence the offset of one second.
        due_ms = lib.pn_transport_tick(self._transport, int(now * 1000) + 1000)
        self._deadline = (due_ms - 1000) / 1000 if due_ms else None
        self._own_heartbeat(now)
        self._collect()

    def _own_heartbeat(self, now: float) -> None:
        period_ms = self.options.heartbeat_default_ms
        if not period_ms or lib.pn_transport_get_remote_idle_timeout(self._transport) or not self._is_open():
            return
        if self._beat_at is None:
            self._beat_at = now + period_ms / 2000
        elif now >= self._beat_at:
            self._drain_transport()
            self._out.append(_EMPTY_FRAME)
            self._beat_at = now + period_ms / 2000
        self._deadline = self._beat_at if self._deadline is None else min(self._deadline, self._beat_at)

    # ---- the connection

    def open(self) -> None:
        """Sends the open frame."""
        lib.pn_connection_open(self._connection)

    def close(self, reason: AmqpFault | None = None) -> None:
        """Sends a close frame; afterwards send `outbound` and close the stream."""
        if reason is not None:
            write_fault(lib.pn_connection_condition(self._connection), reason)
        if not lib.pn_connection_state(self._connection) & cproton.PN_LOCAL_ACTIVE:
            lib.pn_connection_open(self._connection)
        lib.pn_connection_close(self._connection)

    def _is_open(self) -> bool:
        both = cproton.PN_LOCAL_ACTIVE | cproton.PN_REMOTE_ACTIVE
        return bool(lib.pn_connection_state(self._connection) & both == both)

    @property
    def remote_idle_timeout_ms(self) -> int:
        """Idle time-out the peer asked for, 0 for none; known after `ConnectionOpened`."""
        return int(lib.pn_transport_get_remote_idle_timeout(self._transport))

    @property
    def sessions_max(self) -> int:
        """Sessions that both sides allow; before `ConnectionOpened` what we allow."""
        remote = int(lib.pn_transport_remote_channel_max(self._transport)) if self._is_open() else CHANNEL_MAX
        return min(self.options.channel_max, remote) + 1

    def new_session(self) -> AmqpSession:
        """Opens a session of our own.

        :raises ValueError: there are `sessions_max` already; the caller has to keep count.
        """
        impl = lib.pn_session(self._connection)
        if impl == ffi.NULL:
            raise ValueError(f"a connection has at most {self.sessions_max} sessions")
        session = self._session(impl)
        session.open()
        return session

    def next_tag(self) -> int:
        """Number for a delivery tag, unique on this connection."""
        self._tag_counter += 1
        return self._tag_counter

    def events(self) -> list[AmqpEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _fail(self, fault: AmqpFault) -> None:
        """Nothing more is read; what is queued for sending still goes out."""
        if self._sasl is not None:
            self._out.append(self._sasl.outbound())
        self._failed = True
        self._report_failure(fault)

    def _abort(self, text: str) -> None:
        """Closes the connection because the peer passed one of its limits."""
        fault = AmqpFault(amqp_errors.RESOURCE_LIMIT, text)
        self.close(fault)
        self._fail(fault)

    def _report_failure(self, fault: AmqpFault) -> None:
        if not self._failure_reported:
            self._failure_reported = True
            self._events.append(TransportFailed(fault))

    # ---- proton's events

    def _event_table(self) -> dict[int, Callable[[Any], None]]:
        return {
            cproton.PN_DELIVERY: self._on_delivery,
            cproton.PN_LINK_FLOW: self._on_flow,
            cproton.PN_CONNECTION_REMOTE_OPEN: self._on_open,
            cproton.PN_CONNECTION_REMOTE_CLOSE: self._on_close,
            cproton.PN_SESSION_REMOTE_OPEN: self._on_begin,
            cproton.PN_SESSION_REMOTE_CLOSE: self._on_end,
            cproton.PN_LINK_REMOTE_OPEN: self._on_attach,
            cproton.PN_LINK_REMOTE_CLOSE: self._on_detach,
            cproton.PN_LINK_REMOTE_DETACH: self._on_detach,
            cproton.PN_TRANSPORT_ERROR: self._on_transport_error,
        }

    def _collect(self) -> None:
        collector, handlers = self._collector, self._handlers
        while (event := lib.pn_collector_peek(collector)) != ffi.NULL:
            handler = handlers.get(lib.pn_event_type(event))
            if handler is not None:
                handler(event)
            lib.pn_collector_pop(collector)

    def _on_open(self, _event: CPointer) -> None:
        self._deadline = 0.0  # idle times are known only now; the owner's clock starts them
        container = cproton.pn_connection_remote_container(self._connection)
        hostname = cproton.pn_connection_remote_hostname(self._connection)
        self._events.append(ConnectionOpened(container or "", hostname))

    def _on_close(self, _event: CPointer) -> None:
        fault = read_fault(lib.pn_connection_remote_condition(self._connection))
        self._events.append(ConnectionClosed(fault))

    def _on_transport_error(self, _event: CPointer) -> None:
        fault = read_fault(lib.pn_transport_condition(self._transport))
        self._report_failure(fault or AmqpFault(amqp_errors.FRAMING_ERROR, "the stream broke"))

    def _session(self, impl: CPointer) -> AmqpSession:
        key = pointer_key(impl)
        session = self._sessions.get(key)
        if session is None:
            lib.pn_session_set_incoming_capacity(impl, self.options.session_bytes_max)
            session = self._sessions[key] = AmqpSession(self, impl)
        return session

    def _on_begin(self, event: CPointer) -> None:
        session = self._session(lib.pn_event_session(event))
        if session.locally_new:
            self._events.append(SessionOpened(session))

    def _on_end(self, event: CPointer) -> None:
        session = self._sessions.pop(pointer_key(lib.pn_event_session(event)), None)
        if session is None:
            return
        for link in self._links_of(session):
            if not link.closing:
                self._events.append(LinkClosed(link, None))
            self.forget_link(link)
        if not session.closing:
            fault = read_fault(lib.pn_session_remote_condition(session.impl))
            self._events.append(SessionClosed(session, fault))
            session.close()
        session.invalidate()

    def _links_of(self, session: AmqpSession) -> list[AmqpLink]:
        return [link for link in self._links.values() if link.session is session]

    def close_links_of(self, session: AmqpSession) -> None:
        """For `AmqpSession.close`: the end frame detaches them all."""
        for link in self._links_of(session):
            link.closing = True

    def adopt_link(self, session: AmqpSession, impl: CPointer) -> AmqpLink:
        """Handle for a link, made once; `AmqpSession` uses it for links we start."""
        key = pointer_key(impl)
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = AmqpLink(self, session, impl)
        return link

    def forget_link(self, link: AmqpLink) -> None:
        """Drops a closed link and the bytes it holds."""
        self._partial_bytes -= len(link.partial)
        link.invalidate()
        self._links.pop(link.key, None)

    def _on_attach(self, event: CPointer) -> None:
        session = self._session(lib.pn_event_session(event))
        link = self.adopt_link(session, lib.pn_event_link(event))
        link.note_attached()
        if len(self._links) > self.options.links_max:
            self._abort(f"more than {self.options.links_max} links")
            return
        self._events.append(LinkAttached(link))

    def _on_detach(self, event: CPointer) -> None:
        link = self._links.get(pointer_key(lib.pn_event_link(event)))
        if link is None:
            return
        if not link.closing:
            fault = read_fault(lib.pn_link_remote_condition(link.impl))
            self._events.append(LinkClosed(link, fault))
            link.close()
        self.forget_link(link)

    def _on_flow(self, event: CPointer) -> None:
        link = self._links.get(pointer_key(lib.pn_event_link(event)))
        if link is not None and link.is_sender:
            self._events.append(LinkCredit(link))

    def _on_delivery(self, event: CPointer) -> None:
        link = self._links.get(pointer_key(lib.pn_event_link(event)))
        if link is None or link.closing:
            return
        impl = lib.pn_event_delivery(event)
        if link.is_sender:
            self._on_disposition(link, impl)
        else:
            self._on_transfer(link, impl)

    def _on_disposition(self, link: AmqpLink, impl: CPointer) -> None:
        if not lib.pn_delivery_updated(impl):
            return
        delivery = link.unsettled.get(pointer_key(impl))
        if delivery is None:
            return
        outcome = delivery.read_outcome()
        if outcome is not None:
            delivery.settle()
            self._events.append(Disposed(delivery, outcome))

    def _on_transfer(self, link: AmqpLink, impl: CPointer) -> None:
        if lib.pn_link_current(link.impl) != impl:
            return  # a disposition for a delivery that was taken before
        if lib.pn_delivery_aborted(impl):
            self._drop_partial(link)
            lib.pn_delivery_settle(impl)
            return
        if self._format:
            link.message_format = self._format
        pending = lib.pn_delivery_pending(impl)
        partial = lib.pn_delivery_partial(impl)
        if len(link.partial) + pending > self.options.message_bytes_max:
            limit = self.options.message_bytes_max
            self._break_link(link, AmqpFault(amqp_errors.MESSAGE_SIZE, f"a message may have {limit} bytes"))
            return
        if partial or link.partial:
            self._take_partial(link, pending)
            if partial or self._failed:
                return
        self._finish_transfer(link, impl, pending)

    def _take_partial(self, link: AmqpLink, pending: int) -> None:
        """Moves what has come out of proton, so that its session window opens again."""
        if not pending:
            return
        buffer = bytearray(pending)
        lib.pn_link_recv(link.impl, ffi.from_buffer(buffer), pending)
        link.partial += buffer
        self._partial_bytes += pending
        if self._partial_bytes > self.options.partial_bytes_max:
            self._abort(f"more than {self.options.partial_bytes_max} bytes of incomplete messages")

    def _finish_transfer(self, link: AmqpLink, impl: CPointer, pending: int) -> None:
        message_format, link.message_format = link.message_format, 0
        if link.partial:
            payload = bytes(link.partial)
            self._drop_partial(link)
        else:
            buffer = bytearray(pending)
            if pending:
                lib.pn_link_recv(link.impl, ffi.from_buffer(buffer), pending)
            payload = bytes(buffer)
        lib.pn_link_advance(link.impl)
        if lib.pn_link_credit(link.impl) < 0:
            self._break_link(link, AmqpFault(amqp_errors.TRANSFER_LIMIT, "a message was sent without credit"))
            return
        settled = bool(lib.pn_delivery_settled(impl))
        delivery = AmqpDelivery(link, impl)
        self._events.append(Received(link, delivery, payload, message_format, settled))

    def _drop_partial(self, link: AmqpLink) -> None:
        self._partial_bytes -= len(link.partial)
        link.partial = bytearray()
        link.message_format = 0

    def _break_link(self, link: AmqpLink, fault: AmqpFault) -> None:
        """Detaches a link whose peer broke a limit."""
        self._drop_partial(link)
        link.close(fault)
        self._events.append(LinkClosed(link, fault))
