"""TLS of a running hub: versions, certificates of clients, and a server certificate that changes."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from edgehub import _core
from testkit.hub_process import HubProcess, token, username
from testkit.wire import PUBACK, WAIT_S, WireClient, connect_packet, publish_packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOPIC = "devices/leaf/messages/events/"
ROUTES = {"up": "FROM /messages/* INTO $upstream"}


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of its own for localhost, and its key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN={name} "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {chain}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return chain, key


class Rig:
    """A hub with two certificates to choose from, and one for a client."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = make_certificate(folder, "first"), make_certificate(folder, "second")
        self.client = make_certificate(folder, "leaf")
        self.chain, self.key = folder / "hub.pem", folder / "hub.key"
        self.install(self.first)
        self.settings = {
            "StoreSync": "none",
            "EdgeHubDevServerCertificateFile": str(self.chain),
            "EdgeHubDevServerPrivateKeyFile": str(self.key),
        }

    def install(self, pair: tuple[Path, Path]) -> None:
        """What an operator does: both files, one after the other."""
        self.chain.write_bytes(pair[0].read_bytes())
        self.key.write_bytes(pair[1].read_bytes())

    def context(self, *, certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for chain, _ in (self.first, self.second):
            context.load_verify_locations(chain)
        if certificate:
            context.load_cert_chain(*self.client)
        return context


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def hub(rig: Rig, tmp_path: Path) -> Iterator[HubProcess]:
    rig.install(rig.first)
    with HubProcess(tmp_path, devices=["leaf"], modules=[], routes=ROUTES, settings=rig.settings) as hub:
        yield hub


def secure(hub: HubProcess, context: ssl.SSLContext) -> WireClient:
    client = WireClient(hub.tls_port)
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
    return client


def leaf_of(client: WireClient) -> bytes | None:
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket.getpeercert(binary_form=True)


def der(pair: tuple[Path, Path]) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair[0].read_text())


def wait_for_line(hub: HubProcess, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + WAIT_S
    while hub.log().count(text) < count:
        assert time.monotonic() < deadline, f"{text!r} is not in:\n{hub.log()}"
        time.sleep(0.02)


def test_a_changed_certificate_is_for_new_connections_and_the_old_ones_stay(
    hub: HubProcess, rig: Rig
) -> None:
    with secure(hub, rig.context()) as old, secure(hub, rig.context()) as new:
        assert leaf_of(old) == der(rig.first)
        assert old.connect("leaf", username("leaf"), token("leaf")) == 0
        rig.install(rig.second)
        os.kill(hub.pid, signal.SIGHUP)
        wait_for_line(hub, "The server certificate was replaced")
        old.send(publish_packet(TOPIC, b"x", 1))
        assert old.expect(PUBACK).acked == 1
        with secure(hub, rig.context()) as newer:
            assert leaf_of(newer) == der(rig.second)
            assert newer.connect("edge1", username("edge1"), token("edge1")) == 0
        old.send(publish_packet(TOPIC, b"x", 2))
        assert old.expect(PUBACK).acked == 2
        assert leaf_of(new) == der(rig.first)


def test_files_that_cannot_be_used_leave_the_certificate_in_force(hub: HubProcess, rig: Rig) -> None:
    rig.chain.write_bytes(rig.second[0].read_bytes())
    os.kill(hub.pid, signal.SIGHUP)
    wait_for_line(hub, "The server certificate stays")
    rig.key.unlink()
    os.kill(hub.pid, signal.SIGHUP)
    wait_for_line(hub, "The server certificate stays", 2)
    with secure(hub, rig.context()) as client:
        assert leaf_of(client) == der(rig.first)
        assert client.connect("leaf", username("leaf"), token("leaf")) == 0
    rig.install(rig.second)
    os.kill(hub.pid, signal.SIGHUP)
    wait_for_line(hub, "The server certificate was replaced")
    with secure(hub, rig.context()) as client:
        assert leaf_of(client) == der(rig.second)


def test_m_017_m_018_certificates_of_clients(hub: HubProcess, rig: Rig) -> None:
    with secure(hub, rig.context(certificate=True)) as client:
        assert client.connect("leaf", username("leaf"), token("leaf")) == 0, "a password wins"
    with secure(hub, rig.context(certificate=True)) as client:
        assert client.connect("leaf", username("leaf"), token("leaf", key="d3Jvbmc=")) == 5
    with secure(hub, rig.context(certificate=True)) as client:
        assert client.connect("leaf", username("leaf"), None) == 5
        client.expect_closed()
    wait_for_line(hub, "leaf is not registered for certificates")
    with secure(hub, rig.context()) as client:
        assert client.connect("leaf", username("leaf"), None) == 5
    wait_for_line(hub, "no password and no certificate")


def test_settings_choose_versions_and_whether_certificates_are_asked_for(rig: Rig, tmp_path: Path) -> None:
    rig.install(rig.first)
    settings = rig.settings | {"SslProtocols": "tls1.3, tls1.0", "ClientCertAuthEnabled": "false"}
    with HubProcess(tmp_path, devices=["leaf"], modules=[], routes=ROUTES, settings=settings) as hub:
        assert "not offered: tls1.0" in hub.log()
        old = rig.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError), secure(hub, old):
            pass
        with secure(hub, rig.context(certificate=True)) as client:
            assert isinstance(client.socket, ssl.SSLSocket)
            assert client.socket.version() == "TLSv1.3"
            assert client.connect("leaf", username("leaf"), None) == 5
        wait_for_line(hub, "no password and no certificate")


class Core:
    """The engine alone, in this process."""

    def __init__(self) -> None:
        self.engine = _core.Engine(edge_device_id="edge1")
        self.engine.start()

    def connect_event(self) -> _core.ConnectEvent:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for event in self.engine.next_events():
                if isinstance(event, _core.ConnectEvent):
                    return event
            time.sleep(0.01)
        raise AssertionError("no CONNECT came")


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    yield core
    core.engine.stop(0)


def test_the_core_hands_over_the_certificate_of_a_client(core: Core, rig: Rig) -> None:
    chain, key = (path.read_bytes() for path in rig.first)
    _, port = core.engine.listen("127.0.0.1", 0, chain, key, client_certificates=True)
    for shows in (True, False):
        with WireClient(port) as client:
            client.socket = rig.context(certificate=shows).wrap_socket(
                client.socket, server_hostname="localhost"
            )
            client.send(connect_packet("leaf", None, None))
            assert core.connect_event().certificates == ((der(rig.client),) if shows else ())


def test_what_the_core_cannot_use_is_told(core: Core, rig: Rig) -> None:
    chain, key = (path.read_bytes() for path in rig.first)
    for versions in ((), ("1.1",), ("tls1.2",)):
        with pytest.raises(_core.ConfigError, match="TLS version"):
            core.engine.listen("127.0.0.1", 0, chain, key, tls_versions=versions)
    listener, _ = core.engine.listen("127.0.0.1", 0, chain, key)
    with pytest.raises(_core.ListenError, match="certificate"):
        core.engine.set_tls(listener, rig.second[0].read_bytes(), key)
    with pytest.raises(_core.ConfigError, match="listener 77"):
        core.engine.set_tls(77, chain, key)
    core.engine.set_tls(listener, chain, key)


def test_the_core_adopts_one_end_of_a_pair_and_copies_the_descriptor(core: Core) -> None:
    own, engines = socket.socketpair()
    with own, engines:
        core.engine.adopt(engines.fileno(), "192.0.2.7:4711")
    own, engines = socket.socketpair()
    core.engine.adopt(engines.fileno(), "192.0.2.7:4712")
    engines.close()
    client = WireClient.over(own)
    client.send(connect_packet("leaf", "name", "secret"))
    event = core.connect_event()
    assert (event.peer, event.listener, event.certificates) == ("192.0.2.7:4712", 0, ())
    core.engine.refuse(event.conn, 5)
    assert client.receive() is not None
    client.expect_closed()
    own.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        for wrong in (-1, 1_000_000, datagrams.fileno()):
            with pytest.raises(_core.ConfigError, match="cannot take over the socket"):
                core.engine.adopt(wrong, "")


def test_a_client_certificate_of_x509_version_1_ends_the_handshake(hub: HubProcess, rig: Rig) -> None:
    """It cannot be read, so nobody knows whether the client has its key."""
    folder = rig.client[0].parent
    script = """
    openssl req -new -key leaf.key -subj /CN=leaf -out old.csr
    openssl x509 -req -in old.csr -signkey leaf.key -days 2 -out old.pem
    openssl x509 -in old.pem -noout -text
    """
    made = subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True, text=True)
    assert "Version: 1" in made.stdout
    context = rig.context()
    context.load_cert_chain(folder / "old.pem", rig.client[1])
    # With TLS 1.3 the client hears of it after its own part of the handshake.
    with secure(hub, context) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.connect("leaf", username("leaf"), token("leaf"))
