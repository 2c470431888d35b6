"""Opens sockets to the hub: TCP, a proxy if there is one, TLS. Blocks: runs in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeagent.link.errors import ConnectError
from edgeagent.link.proxy import Proxy, open_tunnel

if TYPE_CHECKING:
    import ssl

STEP_S: Final = 15.0
"""One step: the TCP handshake, one read of the proxy, one read within the TLS handshake."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect."""

    host: str
    port: int
    tls: ssl.SSLContext
    proxy: Proxy | None = None


class SocketOpener:
    """Opens one socket, and can be told from another thread to give up."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._abandoned = False

    @property
    def opened(self) -> socket.socket | None:
        """What was opened last; of type `ssl.SSLSocket` once the handshake has begun."""
        return self._socket

    def open(self) -> socket.socket:
        """A socket ready for use.

        :raises OSError: the network, TLS among it.
        :raises ConnectError: the proxy, or given up meanwhile.
        """
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> socket.socket:
        endpoint = self._endpoint
        first = endpoint.proxy or endpoint
        raw = socket.create_connection((first.host, first.port), timeout=STEP_S)
        self._keep(raw)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.proxy is not None:
            open_tunnel(raw, endpoint.proxy, endpoint.host, endpoint.port)
        wrapped = endpoint.tls.wrap_socket(raw, server_hostname=endpoint.host, do_handshake_on_connect=False)
        self._keep(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _keep(self, made: socket.socket) -> None:
        with self._lock:
            self._socket = made
            abandoned = self._abandoned
        if abandoned:
            raise ConnectError("the connection was given up")

    def abandon(self) -> None:
        """Ends whatever :meth:`open` waits for, from another thread."""
        with self._lock:
            self._abandoned = True
            made = self._socket
        if made is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(made, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes what was opened. Idempotent."""
        with self._lock:
            made, self._socket = self._socket, None
        if made is not None:
            made.close()
