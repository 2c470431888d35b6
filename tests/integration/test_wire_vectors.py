"""The wire vectors against a real hub: bytes in, bytes out, and whether the connection ends."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testkit.certificates import make_certificates
from testkit.hub_process import HubProcess, token, username
from testkit.wire import SUBACK, WireClient, connect_packet, subscribe_packet

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "mqtt"
WIRE: list[dict[str, Any]] = json.loads((VECTORS / "wire.json").read_text())["rows"]
INVALID: list[dict[str, Any]] = json.loads((VECTORS / "packets-invalid.json").read_text())["packets"]
LEVEL_REFUSED = bytes([0x20, 2, 0, 1])
PING, PONG = bytes([0xC0, 0]), bytes([0xD0, 0])
CONNECT_WAIT_S = 4
"""Time for CONNECT; long enough for a busy machine, short enough to wait for."""
TLS_EVERY = 5
"""One of so many rows is tried with TLS too."""


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
    with HubProcess(folder, devices=["d1"], modules=["m"], routes={}, settings=settings) as hub:
        yield hub


def _part(text: str) -> bytes:
    """`7879`, or `78*9` for nine times the same."""
    data, _, times = text.partition("*")
    return bytes.fromhex(data) * int(times or 1)


def _client_id(state: str) -> str:
    return "edge1/m" if state == "subscribed" else "d1"


def _segment(text: str, state: str) -> bytes:
    """The bytes of an entry of `in`; none for silence."""
    if text == "@silence":
        return b""
    if text == "@connect":
        identity = _client_id(state)
        return connect_packet(identity, username(identity), token(identity))
    return b"".join(_part(part) for part in text.split("+"))


def _prepared(hub: HubProcess, state: str, ca: Path | None) -> WireClient:
    """A connection in this state."""
    client = WireClient(hub.plain_port if ca is None else hub.tls_port, host="localhost", ca=ca)
    if state != "fresh":
        identity = _client_id(state)
        assert client.connect(identity, username(identity), token(identity)) == 0
    if state == "subscribed":
        client.send(subscribe_packet("devices/edge1/modules/m/inputs/#"))
        client.expect(SUBACK)
    return client


def _receive(client: WireClient, length: int | None) -> bytes:
    """So many bytes, or all up to the end of the connection."""
    got = b""
    while length is None or len(got) < length:
        try:
            data = client.socket.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            data = b""
        if not data:
            assert length is None, f"closed after {got.hex()}"
            return got
        got += data
    return got


def _check(hub: HubProcess, state: str, segments: list[bytes], out: bytes, end: str, ca: Path | None) -> None:
    with _prepared(hub, state, ca) as client:
        for segment in segments:
            client.send(segment)
        if end == "close":
            assert _receive(client, None) == out
            return
        # The answer to a last ping shows that nothing else came, and that the connection lives.
        assert _receive(client, len(out)) == out
        client.send(PING)
        assert _receive(client, len(PONG)) == PONG


def _check_row(hub: HubProcess, row: dict[str, Any], ca: Path | None) -> None:
    segments = [_segment(text, row["state"]) for text in row["in"]]
    _check(hub, row["state"], segments, bytes.fromhex(row["out"] or ""), row["end"], ca)


@pytest.mark.parametrize("row", WIRE, ids=lambda row: row["name"])
def test_answers_as_the_row_says(hub: HubProcess, row: dict[str, Any]) -> None:
    _check_row(hub, row, None)


@pytest.mark.parametrize("row", WIRE[::TLS_EVERY], ids=lambda row: row["name"])
def test_answers_the_same_over_tls(hub: HubProcess, certificates: Path, row: dict[str, Any]) -> None:
    _check_row(hub, row, certificates / "ca.pem")


@pytest.mark.parametrize("state", ["fresh", "connected", "subscribed"])
def test_malformed_packets_close(hub: HubProcess, state: str) -> None:
    for packet in INVALID:
        answered = state == "fresh" and packet["answer"] is not None
        _check(hub, state, [bytes.fromhex(packet["hex"])], LEVEL_REFUSED if answered else b"", "close", None)
