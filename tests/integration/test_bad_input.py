"""What comes wrong is refused as the tables say, with one log line, and nobody else notices."""

from __future__ import annotations

import base64
import os
import random
import re
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from testkit.certificates import make_certificates
from testkit.hub_process import HubProcess, token, username
from testkit.wire import (
    PUBACK,
    PUBLISH,
    SUBACK,
    WireClient,
    connect_packet,
    packet,
    puback_packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = {"in": 'FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")'}
TOPIC = "devices/bystander/messages/events/"
CONNECT_WAIT_S = 2


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[HubProcess]:
    settings = {
        "StoreSync": "none",
        "mqttSettings__ConnectArrivalTimeout": f"00:00:0{CONNECT_WAIT_S}",
        "EdgeHubDevServerCertificateFile": str(certificates / "hub.pem"),
        "EdgeHubDevServerPrivateKeyFile": str(certificates / "hub.key"),
        "EdgeHubDevTrustBundleFile": str(certificates / "ca.pem"),
    }
    folder = tmp_path_factory.mktemp("hub")
    with HubProcess(
        folder, devices=["bystander", "leaf"], modules=["m"], routes=ROUTES, settings=settings
    ) as hub:
        yield hub


class Bystander:
    """A device and a module that must not notice anything."""

    def __init__(self, hub: HubProcess) -> None:
        self.device = hub.client("bystander")
        self.module = hub.client("edge1/m")
        self.module.send(subscribe_packet("devices/edge1/modules/m/inputs/#"))
        self.module.expect(SUBACK)
        self._number = 0

    def check(self) -> None:
        """One message is acknowledged and delivered."""
        self._number += 1
        body = f"message {self._number}".encode()
        self.device.send(publish_packet(TOPIC, body, self._number))
        assert self.device.expect(PUBACK).acked == self._number
        assert self.take() == body

    def take(self) -> bytes:
        """The next message that the module gets."""
        _, packet_id, body = self.module.expect(PUBLISH).message()
        self.module.send(puback_packet(packet_id))
        return body


@pytest.fixture(scope="module")
def bystander(hub: HubProcess) -> Iterator[Bystander]:
    bystander = Bystander(hub)
    yield bystander
    bystander.device.socket.close()
    bystander.module.socket.close()


def _lines_since(hub: HubProcess, before: int, text: str = "\n") -> list[str]:
    """The log lines from a position on; waits for one with this text."""
    deadline = time.monotonic() + 5
    while text not in hub.log()[before:] and time.monotonic() < deadline:
        time.sleep(0.05)
    return [line for line in hub.log()[before:].splitlines() if line]


@pytest.fixture
def log_lines(hub: HubProcess, bystander: Bystander) -> Iterator[list[str]]:
    """Afterwards: the lines that the test's connection caused. Checks that there is exactly one, and that
    the bystander goes on."""
    bystander.check()
    before = len(hub.log())
    lines: list[str] = []
    yield lines
    bystander.check()
    lines[:] = _lines_since(hub, before)
    assert len(lines) == 1, lines
    assert re.search(r"127\.0\.0\.1:\d+", lines[0]), lines


OTHER_KEY = base64.b64encode(b"another key of thirty-two bytes!").decode()

REFUSED = {
    "wrong key": ("leaf", username("leaf"), token("leaf", key=OTHER_KEY), 5),
    "expired token": ("leaf", username("leaf"), token("leaf", expires_in_s=-301), 5),
    "token of another device": ("leaf", username("leaf"), token("bystander"), 5),
    "malformed token": ("leaf", username("leaf"), "SharedAccessSignature sr=x", 5),
    "unknown device": ("ghost", username("ghost"), token("ghost"), 5),
    "no password": ("leaf", username("leaf"), None, 5),
    "client id is not the user name's": ("leaf", username("bystander"), token("bystander"), 5),
    "client id of another case": ("Leaf", username("leaf"), token("leaf"), 5),
    "user name without api-version": ("leaf", "hub.test/leaf", token("leaf"), 3),
    "blank client id": ("", username("leaf"), token("leaf"), 3),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_code(hub: HubProcess, log_lines: list[str], case: str) -> None:
    client_id, user, password, code = REFUSED[case]
    with WireClient(hub.plain_port) as client:
        assert client.connect(client_id, user, password) == code
        client.expect_closed()


@pytest.mark.parametrize("level", [3, 5])
def test_another_protocol_level_is_answered_with_one(
    hub: HubProcess, log_lines: list[str], level: int
) -> None:
    with WireClient(hub.plain_port) as client:
        assert client.connect("leaf", username("leaf"), token("leaf"), level=level) == 1
        client.expect_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
        bytes(random.Random(1).randrange(256) for _ in range(4096)),
        publish_packet("devices/leaf/messages/events/", b"", 1),
        packet(1, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04leaf"),
        packet(1, b"\x00\x04MQTT\x04\x01\x00\x3c\x00\x04leaf"),
        b"\x10\xff\xff\xff\xff\x01",
        b"\x10\xff\xff\xff\x7f",
    ],
    ids=["http", "random", "publish first", "MQIsdp", "reserved flag", "long length", "huge"],
)
def test_bytes_that_are_no_connect_close_the_connection(
    hub: HubProcess, log_lines: list[str], data: bytes
) -> None:
    with WireClient(hub.plain_port) as client:
        client.send(data)
        client.expect_closed()


def test_a_packet_above_the_limit_closes_the_session(hub: HubProcess, bystander: Bystander) -> None:
    with hub.client("leaf") as client:
        before = len(hub.log())
        client.send(packet(PUBLISH, b"\x00" * 262_145, 2)[:100])
        client.expect_closed()
    bystander.check()
    lines = [line for line in _lines_since(hub, before, "disconnected") if " connected " not in line]
    assert len(lines) == 1, lines
    assert "262145" in lines[0]
    assert "262144" in lines[0]


def test_one_byte_below_the_limit_is_accepted(hub: HubProcess, bystander: Bystander) -> None:
    with hub.client("leaf") as client:
        topic = "devices/leaf/messages/events/"
        body = b"x" * (262_144 - 2 - len(topic) - 2)
        client.send(publish_packet(topic, body, 1))
        # Body and properties together pass the size of a message: dropped, acknowledged (M-057).
        assert client.expect(PUBACK).acked == 1
    bystander.check()


def test_random_bytes_before_tls_close_the_connection(hub: HubProcess, log_lines: list[str]) -> None:
    with WireClient(hub.tls_port) as client:
        client.send(os.urandom(512))
        while client.socket.recv(4096):
            pass  # an alert may come first


def test_random_bytes_within_tls_close_the_connection(
    hub: HubProcess, certificates: Path, log_lines: list[str]
) -> None:
    with WireClient(hub.tls_port, ca=certificates / "ca.pem") as client:
        client.send(b"\x00" + os.urandom(512))
        client.expect_closed()


def test_a_broken_record_within_tls_closes_the_connection(
    hub: HubProcess, certificates: Path, log_lines: list[str]
) -> None:
    client = WireClient(hub.tls_port, ca=certificates / "ca.pem")
    assert isinstance(client.socket, ssl.SSLSocket)
    fd = os.dup(client.socket.fileno())
    try:
        os.write(fd, b"\x17\x03\x03\x00\x20" + os.urandom(32))  # past the TLS layer: not decryptable
        with pytest.raises(ssl.SSLError):
            client.socket.recv(4096)
    finally:
        os.close(fd)
        client.socket.close()


@pytest.mark.parametrize(
    "first", [b"", connect_packet("leaf", "u", "p")[:7]], ids=["nothing", "half a CONNECT"]
)
def test_a_connection_that_never_sends_connect_is_closed(
    hub: HubProcess, log_lines: list[str], first: bytes
) -> None:
    with WireClient(hub.plain_port) as client:
        client.send(first)
        client.expect_closed()


def test_a_valid_client_is_accepted_over_tls(
    hub: HubProcess, certificates: Path, bystander: Bystander
) -> None:
    with WireClient(hub.tls_port, ca=certificates / "ca.pem") as client:
        assert client.connect("leaf", username("leaf"), token("leaf")) == 0
        client.send(publish_packet("devices/leaf/messages/events/", b"hello", 1))
        assert client.expect(PUBACK).acked == 1
    assert bystander.take() == b"hello"


def test_a_second_connection_of_an_identity_ends_the_first(hub: HubProcess, bystander: Bystander) -> None:
    with hub.client("leaf") as first, hub.client("leaf") as second:
        first.expect_closed()
        second.send(publish_packet("devices/leaf/messages/events/", b"mine", 1))
        assert second.expect(PUBACK).acked == 1
    assert bystander.take() == b"mine"
    bystander.check()
