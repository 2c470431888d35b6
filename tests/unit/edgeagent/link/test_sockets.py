"""Sockets to the hub: TLS on loopback, with and without a proxy, and giving up."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from edgeagent.link.errors import ConnectError
from edgeagent.link.proxy import Proxy
from edgeagent.link.sockets import Endpoint, SocketOpener
from edgeagent.link.tls import upstream_context
from testkit.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAIT_S = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(WAIT_S)
        yield made


@pytest.fixture
def trust(certificates: Path) -> ssl.SSLContext:
    return upstream_context((certificates / "ca.pem").read_text())


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def greet(listener: socket.socket, certificates: Path, *, proxied: bool) -> None:
    """One connection: the tunnel, TLS, and a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "hub.pem", certificates / "hub.key")
    peer, _ = listener.accept()
    with peer:
        peer.settimeout(WAIT_S)
        if proxied:
            assert peer.recv(1000).startswith(b"CONNECT localhost:8883 ")
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(peer, server_side=True) as secure:
            secure.sendall(b"hello")


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
def test_tls(listener: socket.socket, certificates: Path, trust: ssl.SSLContext, proxied: bool) -> None:
    port = listener.getsockname()[1]
    proxy = Proxy("127.0.0.1", port) if proxied else None
    opener = SocketOpener(Endpoint("localhost", 8883 if proxied else port, trust, proxy))
    thread = in_thread(lambda: greet(listener, certificates, proxied=proxied))
    made = opener.open()
    assert made is opener.opened
    assert made.recv(5) == b"hello"
    opener.close()
    opener.close()
    thread.join(WAIT_S)


def test_an_unknown_authority(listener: socket.socket, certificates: Path) -> None:
    def serve() -> None:
        with pytest.raises((ssl.SSLError, OSError)):
            greet(listener, certificates, proxied=False)

    thread = in_thread(serve)
    opener = SocketOpener(Endpoint("localhost", listener.getsockname()[1], upstream_context()))
    with pytest.raises(ssl.SSLCertVerificationError):
        opener.open()
    assert opener.opened is None
    thread.join(WAIT_S)


def test_giving_up_a_handshake(listener: socket.socket, trust: ssl.SSLContext) -> None:
    """The other side takes the connection and says nothing."""
    opener = SocketOpener(Endpoint("localhost", listener.getsockname()[1], trust))

    def abandon() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1)
            opener.abandon()

    thread = in_thread(abandon)
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
        opener.open()
    thread.join(WAIT_S)


def test_given_up_before_it_began(listener: socket.socket, trust: ssl.SSLContext) -> None:
    opener = SocketOpener(Endpoint("localhost", listener.getsockname()[1], trust))
    opener.abandon()
    with pytest.raises(ConnectError, match="given up"):
        opener.open()
    assert opener.opened is None
