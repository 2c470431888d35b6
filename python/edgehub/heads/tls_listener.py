"""A TLS listener for asyncio protocols whose certificate can be replaced while it serves.

asyncio's own servers take any number of connections and keep the certificate they began with. Here the
connections are counted, those in the handshake included: at the limit the next ones wait in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from typing import TYPE_CHECKING, Final

from edgehub.common.listening import listen_on
from edgehub.errors import EdgehubError
from edgehub.hub.certificates import CertificateError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

HANDSHAKE_WAIT_S: Final = 30.0
"""Longest TLS handshake."""
SHUTDOWN_WAIT_S: Final = 5.0
"""Longest wait for the peer's half of the end of TLS."""
ACCEPT_RETRY_S: Final = 0.5
"""Pause after a failed accept: the process may have no descriptor left."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

log = logging.getLogger(__name__)


class ListenError(EdgehubError):
    """The port cannot be opened."""


def server_context(chain_pem: bytes, key_pem: bytes, versions: Sequence[str]) -> ssl.SSLContext:
    """TLS with this certificate.

    :param versions: `1.2`, `1.3` or both.
    :raises CertificateError: the chain or the key cannot be read, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chosen = sorted(_VERSIONS[version] for version in versions)
    context.minimum_version, context.maximum_version = chosen[0], chosen[-1]
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL reads files only. One in memory keeps the key off the disk.
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(chain_pem + b"\n" + key_pem)
        # The password is for keys that have one: without it OpenSSL would ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file}", password="")
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"the server certificate cannot be used for HTTPS: {error}") from None
    finally:
        os.close(file)
    return context


class Connection(asyncio.Protocol):
    """Passes everything on to another protocol, and tells when the connection is over.

    :param inner: the protocol that is served.
    :param on_lost: called once.
    """

    def __init__(self, inner: asyncio.Protocol, on_lost: Callable[[Connection], None]) -> None:
        self._inner = inner
        self._on_lost = on_lost
        self._arrival: asyncio.TimerHandle | None = None

    def expect_request(self, timeout_s: float, transport: asyncio.BaseTransport) -> None:
        """Ends the connection unless `request_arrived` is called in time."""
        self._arrival = asyncio.get_running_loop().call_later(timeout_s, transport.close)

    def request_arrived(self) -> None:
        """The client said what it wants; from now on that decides how long it may stay."""
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.request_arrived()
        self._inner.connection_lost(exc)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class TlsListener:
    """Accepts connections and makes a protocol for each.

    :param make_protocol: called when the handshake begins.
    :param connections_max: connections at once; further ones wait in the kernel's queue.
    :param request_wait_s: time from the handshake to `Connection.request_arrived`, else the connection ends.
    """

    def __init__(
        self, make_protocol: Callable[[], asyncio.Protocol], connections_max: int, request_wait_s: float
    ) -> None:
        self._make_protocol = make_protocol
        self._request_wait_s = request_wait_s
        self._room = asyncio.Semaphore(connections_max)
        self._held: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """Connections that are open or in the handshake."""
        return len(self._held)

    def use(self, context: ssl.SSLContext) -> None:
        """Takes a certificate for the connections that come from now on."""
        self._context = context

    def open(self, host: str, port: int) -> int:
        """Listens; the number of the port.

        :param host: empty for all addresses.
        :raises ListenError: the address is in use, not ours, or not allowed.
        """
        try:
            listener = listen_on(host, port)
        except OSError as error:
            shown = f"{host or '*'}:{port}"
            # Python's own text repeats the address.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(f"cannot listen on {shown}: {reason}") from error
        listener.setblocking(False)
        self._socket = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="https listener")
        bound: int = listener.getsockname()[1]
        return bound

    async def close(self) -> None:
        """Closes the port and gives up unfinished handshakes; open connections live on. Idempotent."""
        tasks = [task for task in (self._accepting, *self._opening) if task is not None]
        self._accepting = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                peer, _ = await loop.sock_accept(listener)
            except asyncio.CancelledError:
                self._room.release()
                raise
            except OSError as error:
                self._room.release()
                log.warning("Cannot accept an HTTPS connection: %s", error)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            task = asyncio.create_task(self._open(peer))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, peer: socket.socket) -> None:
        connection = Connection(self._make_protocol(), self._lost)
        self._held.add(connection)
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                peer,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_WAIT_S,
                ssl_shutdown_timeout=SHUTDOWN_WAIT_S,
            )
        except BaseException as error:
            with contextlib.suppress(OSError):
                peer.close()
            self._lost(connection)
            if not isinstance(error, OSError):  # a failed handshake is one too
                raise
            log.debug("An HTTPS connection failed: %s", error)
        else:
            if connection in self._held:
                connection.expect_request(self._request_wait_s, transport)

    def _lost(self, connection: Connection) -> None:
        """Gives the place back, once."""
        if connection in self._held:
            self._held.discard(connection)
            self._room.release()
