"""AMQP over TLS on asyncio: sockets for `HubConnection`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from iothub.amqp.connection import HubConnection
from iothub.certificates import client_certificate

if TYPE_CHECKING:
    import ssl

    from iothub.amqp.services import AmqpServices

log = logging.getLogger(__name__)

WRITE_HIGH_BYTES: Final = 256 * 1024
"""Above this the transport stops us; proton then holds its output, bounded by windows and credit."""
FEED_BYTES: Final = 64 * 1024
"""Handled at once; a few hundred attaches at most."""
CLOSE_WAIT_SECS: Final = 5.0
"""How long a client may take to answer a close before the socket goes."""
HANDSHAKE_SECS: Final = 30.0
_STOP_FAULT: Final = AmqpFault(amqp_errors.CONNECTION_FORCED, "the hub is stopping, please connect again")


class AmqpProtocol(asyncio.Protocol):
    """One socket. Reads all there is, handles it, writes once."""

    def __init__(self, listener: AmqpListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._may_write = True
        self._paused = False
        self._unread = b""
        self._flush_queued = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._connection: HubConnection | None = None

    @property
    def connection(self) -> HubConnection | None:
        """The protocol state, None for a refused socket."""
        return self._connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is connected and TLS is up."""
        # uvloop's transports offer the interface without being its subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if not self._listener.admit(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        peer = str(transport.get_extra_info("peername"))
        certificate = client_certificate(transport)
        self._connection = HubConnection(
            self._listener.services, peer, self._loop.time(), self.flush_soon, certificate
        )
        self._arm()
        self.regulate()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._connection is not None:
            self._unread += data
            self._flush()

    def _feed(self, connection: HubConnection) -> None:
        """Handles what was read, as far as there is room for what it asks for."""
        data, done = self._unread, 0
        while done < len(data) and not connection.busy:
            connection.feed(data[done : done + FEED_BYTES])
            done += FEED_BYTES
        self._unread = data[done:]

    def eof_received(self) -> bool:
        """The client has closed its side; what is pending is still written."""
        if self._connection is not None:
            self._connection.feed(self._unread)
            self._unread = b""
            self._connection.feed_eof()
            self._flush()
        return False

    def pause_writing(self) -> None:
        """The socket is full."""
        self._may_write = False

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._may_write = True
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """The socket is gone."""
        self._listener.leave(self)
        for timer in (self._timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        if self._connection is not None:
            self._connection.dispose()
            self._connection = None

    def flush_soon(self) -> None:
        """Writes at the end of this turn of the loop, once for all that happens in it."""
        if not self._flush_queued and self._connection is not None:
            self._flush_queued = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_queued = False
        connection = self._connection
        if connection is None or self._transport.is_closing():
            return
        self._feed(connection)
        self.regulate()
        if self._may_write:
            out = connection.engine.outbound()
            if out:
                self._transport.write(out)
            if connection.engine.finished:
                self._transport.close()
                self._abort_later()
                return
        if connection.closing:
            self._abort_later()
        self._arm()

    def _abort_later(self) -> None:
        """Gives the client time to answer our close, of AMQP and of TLS."""
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(CLOSE_WAIT_SECS, self._transport.abort)

    def _arm(self) -> None:
        """One timer; it is moved only when the deadline comes nearer, and looks again when it fires."""
        connection = self._connection
        if connection is None:
            return
        now = self._loop.time()
        deadline = connection.deadline(now)
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._connection is not None:
            self._connection.on_deadline(self._loop.time())
            self._flush()

    def regulate(self) -> None:
        """Stops reading from this socket, or goes on, as there is room."""
        if self._connection is None or self._transport.is_closing():
            return
        paused = self._listener.paused or self._connection.busy or bool(self._unread)
        if paused != self._paused:
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def abort(self) -> None:
        """Cuts the socket."""
        self._transport.abort()

    def stop(self) -> None:
        """Closes with a reason."""
        if self._connection is not None:
            self._connection.close(_STOP_FAULT)
            self._flush()


class AmqpListener:
    """All AMQP sockets of the hub."""

    def __init__(self, services: AmqpServices) -> None:
        self.services = services
        self.paused = False
        self._protocols: set[AmqpProtocol] = set()
        self._server: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        services.telemetry.listen_room(self._on_room)

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Opens the listener; gives the port.

        :raises OSError: the address cannot be bound.
        """
        self._server = await asyncio.get_running_loop().create_server(
            lambda: AmqpProtocol(self), host, port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECS
        )
        bound: Any = self._server.sockets[0].getsockname()
        return int(bound[1])

    def admit(self, protocol: AmqpProtocol) -> bool:
        """Takes a new socket unless there are too many."""
        if len(self._protocols) >= self.services.limits.connections_max:
            log.warning("connection refused: %d are open", len(self._protocols))
            return False
        self._protocols.add(protocol)
        self._empty.clear()
        self.services.stats.connections += 1
        return True

    def leave(self, protocol: AmqpProtocol) -> None:
        """A socket is gone."""
        self._protocols.discard(protocol)
        if not self._protocols:
            self._empty.set()

    def identity_changed(self, device_id: str, module_id: str | None) -> None:
        """Word of the registry for all connections."""
        for protocol in self._protocols:
            if protocol.connection is not None:
                protocol.connection.identity_changed(device_id, module_id)

    def _on_room(self, full: bool) -> None:
        self.paused = full
        for protocol in self._protocols:
            protocol.regulate()

    def stop_accepting(self) -> None:
        """Closes the listening socket."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Closes every connection with a reason and waits for the sockets to go."""
        self.stop_accepting()
        for protocol in list(self._protocols):
            protocol.stop()
        try:
            async with asyncio.timeout(CLOSE_WAIT_SECS + 1):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d connections did not close in time", len(self._protocols))
            for protocol in list(self._protocols):
                protocol.abort()
