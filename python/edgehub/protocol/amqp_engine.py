"""AMQP 1.0 as a sans-IO engine over proton's C core: bytes in, events and bytes out, time passed in.

Who handles what (part 2 performatives):

| performative | proton | here | owner of the engine |
|---|---|---|---|
| SASL frames | - | `amqp_sasl` | judges PLAIN credentials (`sasl_decide`) |
| open, close | encodes, keeps state | options, heartbeats nobody asked for | decides, `open`/`close` |
| begin, end | windows, channels | byte limits | `AmqpSession.open`/`close` |
| attach, detach | handles | termini, properties, errors | `AmqpLink.open`/`refuse`/`close` |
| flow | credit | credit overruns become a detach | `AmqpLink.grant` |
| transfer | splits and joins frames | formats, limits (`amqp_transfers`) | `AmqpLink.send`, `Received` |
| disposition | delivery states | outcome with condition | `AmqpDelivery.accept`/`reject`, `Disposed` |

Call `feed`, then take `events`, act, then take `outbound`; ask `deadline` and call `on_deadline` when it
passes. Nothing raises because of what the peer sent: a broken peer ends in one `TransportFailed` event and
`finished`. Proton's `Container` and reactor are not used, nor its Python classes on the hot path: the C calls
cost a tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
    SaslPlain,
    SessionClosed,
    SessionOpened,
    TransportFailed,
)
from edgehub.protocol.amqp_frames import FormatReader, FormatWriter
from edgehub.protocol.amqp_handles import (
    AmqpLink,
    AmqpSession,
    CPointer,
    pointer_key,
    read_fault,
    write_fault,
)
from edgehub.protocol.amqp_opening import Opening
from edgehub.protocol.amqp_options import CHANNEL_MAX
from edgehub.protocol.amqp_sasl import SaslError
from edgehub.protocol.amqp_transfers import Transfers
from edgehub.protocol.amqp_types import AmqpDecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_options import EngineOptions

_EMPTY_FRAME: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"


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
        self._opening = Opening(options)
        self._opening_unsent = True
        self._transfers = Transfers(options.message_bytes_max)
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
        if not self._opening.passed:
            data = self._feed_opening(data)
        if data:
            self._feed_amqp(data)

    def _feed_opening(self, data: bytes) -> bytes:
        try:
            rest = self._opening.feed(data)
        except AmqpDecodeError as error:
            self._fail_opening(error)
            return b""
        credentials, self._opening.credentials = self._opening.credentials, None
        if credentials is not None:
            self._events.append(SaslPlain(*credentials))
        return rest

    def _fail_opening(self, error: AmqpDecodeError) -> None:
        condition = amqp_errors.UNAUTHORIZED if isinstance(error, SaslError) else amqp_errors.FRAMING_ERROR
        self._fail(AmqpFault(condition, str(error)))

    def sasl_decide(self, accepted: bool) -> None:
        """Server: answers a `SaslPlain` event."""
        try:
            rest = self._opening.decide(accepted)
        except SaslError as error:
            self._fail_opening(error)
        else:
            self._feed_amqp(rest)

    @property
    def sasl_mechanism(self) -> str | None:
        """Server: the mechanism that the peer passed SASL with, None for a peer without SASL."""
        return self._opening.mechanism

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
        if not self._opening.passed or self._opening_unsent:
            self._out.append(self._opening.outbound())
            self._opening_unsent = not self._opening.passed
        self._drain_transport()
        if not self._out:
            return b""
        out = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        return out

    def _drain_transport(self) -> None:
        transport = self._transport
        if not self._opening.passed:
            return  # a server answers and never speaks first; and SASL comes before AMQP
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
        self._transfers.drop(link)
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
        if outcome is None or delivery.decided:
            return
        delivery.decided = True
        if not link.owner_settles:
            delivery.settle()
        self._events.append(Disposed(delivery, outcome))

    def _on_transfer(self, link: AmqpLink, impl: CPointer) -> None:
        event = self._transfers.take(link, impl, self._format)
        if event is not None:
            self._events.append(event)
        elif self._transfers.held_bytes > self.options.partial_bytes_max:
            self._abort(f"more than {self.options.partial_bytes_max} bytes of incomplete messages")
