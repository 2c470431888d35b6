"""Devices that prove themselves by a certificate, over TLS and through a proxy, to a real hub (I-008 to
I-010, H-020, M-017)."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest

from testkit.https import TrustedServer
from testkit.hub_process import EDGE, HubProcess, token, username
from testkit.wire import CONNACK, PUBACK, PacketReader, WireClient, connect_packet, publish_packet
from testkit.x509 import Issued, authority, bundle, issue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = {"up": "FROM /messages/* INTO $upstream"}
PROXY = f"{EDGE}/IoTEdgeAPIProxy"
NOW_S = time.time()
ROOT = authority("root", NOW_S)
MIDDLE = authority("middle", NOW_S, ROOT)
PRINTED, REPLACED, SPARE = (issue("printed", now_s=NOW_S) for _ in range(3))
EXPIRED = issue("expired", now_s=NOW_S, end_s=-1)


def thumbprints(*found: str) -> dict[str, Any]:
    primary, secondary = (*found, None)[:2]
    return {
        "type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary},
    }


class Site:
    """A hub, its folder, and what its server shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = TrustedServer(folder / "server")
        (folder / "trust.pem").write_bytes(bundle(authority("needless", NOW_S), ROOT))
        settings = {
            "StoreSync": "none",
            "EdgeHubDevServerCertificateFile": str(self.server.files.chain),
            "EdgeHubDevServerPrivateKeyFile": str(self.server.files.key),
            "EdgeHubDevTrustBundleFile": str(folder / "trust.pem"),
            "DeviceScopeCacheRefreshRateSecs": "1",
            "httpSettings__enabled": "true",
            "httpSettings__host": "127.0.0.1",
            "httpSettings__port": "0",
        }
        devices, modules = ["printed", "expired", "vouched", "keyed"], ["m", "IoTEdgeAPIProxy"]
        self.hub = HubProcess(folder, devices=devices, modules=modules, routes=ROUTES, settings=settings)
        self.register("printed", thumbprints(PRINTED.sha1.upper(), SPARE.sha256))
        self.register("expired", thumbprints(EXPIRED.sha256))
        self.register("vouched", {"type": "certificateAuthority"})

    def register(self, device: str, authentication: dict[str, Any]) -> None:
        path = self.folder / "identities.json"
        document = json.loads(path.read_text())
        (found,) = (item for item in document["devices"] if item["deviceId"] == device)
        found["authentication"] = authentication
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.rename(path)

    def client(self, shown: Issued, *above: Issued) -> WireClient:
        context = ssl.create_default_context(cafile=str(self.server.authority_file))
        context.load_cert_chain(*shown.write(self.folder, "shown", *above))
        client = WireClient(self.hub.tls_port)
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        return client

    def code(self, identity: str, shown: Issued, *above: Issued, password: str | None = None) -> int:
        with self.client(shown, *above) as client:
            return client.connect(identity, username(identity), password)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("hub"))
    with found.hub:
        yield found


@pytest.mark.parametrize("shown", [PRINTED, SPARE], ids=["primary, SHA-1", "secondary, SHA-256"])
def test_i_008_a_device_with_a_registered_thumbprint(site: Site, shown: Issued) -> None:
    with site.client(shown) as client:
        assert client.connect("printed", username("printed"), None) == 0
        client.send(publish_packet("devices/printed/messages/events/", b"x", 1))
        assert client.expect(PUBACK).acked == 1


def test_i_009_a_device_with_a_chain_to_the_trust_bundle(site: Site) -> None:
    assert site.code("vouched", issue("vouched", now_s=NOW_S, by=ROOT)) == 0
    below = issue("vouched", now_s=NOW_S, by=MIDDLE)
    assert site.code("vouched", below, MIDDLE) == 0
    assert site.code("vouched", below) == 5


def test_certificates_that_prove_nothing(site: Site) -> None:
    assert site.code("printed", REPLACED) == 5
    assert site.code("printed", issue("printed", now_s=NOW_S, by=ROOT)) == 5
    assert site.code("expired", EXPIRED) == 5
    assert site.code("vouched", issue("printed", now_s=NOW_S, by=ROOT)) == 5
    assert site.code("vouched", issue("vouched", now_s=NOW_S, by=authority("root", NOW_S))) == 5
    assert site.code("keyed", issue("keyed", now_s=NOW_S, by=ROOT)) == 5
    assert site.code("unknown", issue("unknown", now_s=NOW_S, by=ROOT)) == 5


def test_i_010_a_module_sends_a_token(site: Site) -> None:
    name = f"{EDGE}/m"
    assert site.code(name, issue(name, now_s=NOW_S, by=ROOT)) == 5
    assert site.code(name, issue(name, now_s=NOW_S, by=ROOT), password=token(name)) == 0


def test_m_018_a_token_wins(site: Site) -> None:
    assert site.code("keyed", PRINTED, password=token("keyed")) == 0
    assert site.code("printed", PRINTED, password=token("printed")) == 5


def test_a_changed_thumbprint_cuts_a_live_connection(site: Site) -> None:
    with site.client(PRINTED) as client:
        assert client.connect("printed", username("printed"), None) == 0
        site.register("printed", thumbprints(REPLACED.sha256))
        try:
            client.expect_closed()
            assert site.code("printed", PRINTED) == 5
            assert site.code("printed", REPLACED) == 0
        finally:
            site.register("printed", thumbprints(PRINTED.sha1.upper(), SPARE.sha256))
    deadline = time.monotonic() + 20
    while site.code("printed", PRINTED) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("signer", "shown", "code"), [(PROXY, PRINTED, 0), (PROXY, REPLACED, 5), (f"{EDGE}/m", PRINTED, 5)]
)
async def test_h_020_a_certificate_from_a_proxy(site: Site, signer: str, shown: Issued, code: int) -> None:
    headers = {"x-ms-edge-clientcert": quote(shown.pem.decode(), safe=""), "Authorization": token(signer)}
    url = f"https://127.0.0.1:{site.hub.https_port}/$iothub/websocket"
    packets = PacketReader()
    async with (
        site.server.session() as session,
        session.ws_connect(url, protocols=("mqtt",), headers=headers) as websocket,
    ):
        await websocket.send_bytes(connect_packet("printed", username("printed"), None))
        message = await websocket.receive(timeout=20)
        assert message.type is aiohttp.WSMsgType.BINARY
        packets.feed(message.data)
        answer = packets.take()
    assert answer is not None
    assert (answer.kind, answer.code) == (CONNACK, code)


def test_a_trust_bundle_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "trust.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    environment = {**os.environ, **site.hub._settings, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "edgehub"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "EdgeHubDevTrustBundleFile: the trust bundle cannot be read" in done.stderr
