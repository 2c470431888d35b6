"""Clients with certificates at the ports of iothub, over real TLS (rows 14 and 15)."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_events import Disposed, LinkClosed, LinkCredit, TransportFailed
from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.amqp_options import EngineOptions
from edgehub.protocol.sas import build_token, device_audience
from iothub.certificates import CertificateError
from iothub.config import HubConfig
from iothub.registry.model import parse_device
from iothub.server import HubServer
from testkit.x509 import Issued, authority, bundle, issue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "localhost"
NOW_S = time.time()
ROOT = authority("root", NOW_S)
MIDDLE = authority("middle", NOW_S, ROOT)
# As `openssl req -x509` makes them: able to sign others.
PRINTED = issue("printed", now_s=NOW_S, authority=True)
VOUCHED = issue("vouched", now_s=NOW_S, by=ROOT)
SCOPE = "/devices/{}/modules/$edgeHub/devicesAndModulesInDeviceScope?api-version=2018-08-30-preview"


class Site:
    """iothub with devices that have certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.pem").write_bytes(bundle(ROOT, MIDDLE))
        (folder / "certs.pem").write_bytes(PRINTED.pem)
        self.server = HubServer(
            HubConfig(
                folder / "data",
                HOST,
                "127.0.0.1",
                0,
                0,
                client_ca_file=folder / "ca.pem",
                client_certs_file=folder / "certs.pem",
            )
        )

    async def device(self, device_id: str, authentication: dict[str, Any], **members: Any) -> None:
        document = {"authentication": authentication, **members}
        await self.server.registry.put_device(parse_device(device_id, document), None)

    def context(self, shown: Issued | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.server.certificate.ca_file))
        if shown is not None:
            context.load_cert_chain(*shown.write(self.folder, "shown"))
        return context

    async def send(self, device_id: str, shown: Issued | None, *mechanisms: str) -> str:
        """What becomes of a message over AMQP: the outcome, or the condition of a refused link."""
        engine = AmqpEngine(EngineOptions("client", "client", HOST, sasl_mechanisms=mechanisms))
        engine.open()
        link = engine.new_session().attach_sender("s", f"/devices/{device_id}/messages/events")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.amqp_port, ssl=self.context(shown), server_hostname=HOST
        )
        try:
            async with asyncio.timeout(20):
                while True:
                    writer.write(engine.outbound())
                    data = await reader.read(65536)
                    if not data:
                        raise ConnectionError("the hub closed")
                    engine.feed(data)
                    for event in engine.events():
                        if isinstance(event, LinkCredit) and link.credit:
                            link.send(encode_message(data=b"x"))
                        elif isinstance(event, Disposed):
                            return str(event.outcome.kind)
                        elif isinstance(event, LinkClosed | TransportFailed):
                            return event.fault.condition if event.fault is not None else "closed"
        finally:
            writer.close()

    async def scope(self, device_id: str, shown: Issued | None, token: str | None = None) -> int:
        """Status of the scope API over HTTPS."""
        headers = {} if token is None else {"Authorization": token}
        connector = aiohttp.TCPConnector(ssl=self.context(shown))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://{HOST}:{self.server.https_port}{SCOPE.format(device_id)}"
            async with session.get(url, headers=headers) as answer:
                await answer.read()
                status = answer.status
        # The end of a TLS connection takes the loop some more turns.
        await asyncio.sleep(0.05)
        return status


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.server.start()
    printed = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": PRINTED.sha1}}
    await made.device("printed", printed, capabilities={"iotEdge": True})
    await made.device("vouched", {"type": "certificateAuthority"}, capabilities={"iotEdge": True})
    await made.device("keyed", {"type": "sas"}, capabilities={"iotEdge": True})
    yield made
    await made.server.stop()


@pytest.mark.parametrize("mechanisms", [("EXTERNAL",), ()], ids=["external", "no SASL"])
async def test_row_14_amqp(site: Site, mechanisms: tuple[str, ...]) -> None:
    assert await site.send("printed", PRINTED, *mechanisms) == "accepted"
    assert await site.send("vouched", VOUCHED, *mechanisms) == "accepted"
    below = issue("vouched", now_s=NOW_S, by=MIDDLE)
    assert await site.send("vouched", below, *mechanisms) == "accepted"
    for device_id, shown in (("printed", VOUCHED), ("vouched", PRINTED), ("keyed", VOUCHED)):
        assert await site.send(device_id, shown, *mechanisms) == "amqp:unauthorized-access"
    assert await site.send("printed", None) == "amqp:unauthorized-access"


async def test_a_device_does_not_become_an_authority(site: Site) -> None:
    """TLS takes what a device signed whose own certificate is known; the hub does not."""
    forged = issue("vouched", now_s=NOW_S, by=PRINTED)
    assert await site.send("vouched", forged, "EXTERNAL") == "amqp:unauthorized-access"


async def test_strangers_do_not_get_through_the_handshake(site: Site) -> None:
    strangers = [issue("printed", now_s=NOW_S), issue("vouched", now_s=NOW_S, by=authority("root", NOW_S))]
    strangers.append(issue("vouched", now_s=NOW_S, by=ROOT, end_s=-1))
    for shown in strangers:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await site.send("vouched", shown, "EXTERNAL")


async def test_https(site: Site) -> None:
    assert await site.scope("printed", PRINTED) == 200
    assert await site.scope("vouched", VOUCHED) == 200
    assert await site.scope("printed", VOUCHED) == 401
    assert await site.scope("keyed", VOUCHED) == 401
    assert await site.scope("printed", None) == 401
    keyed = await site.server.registry.identity("keyed", None)
    assert keyed is not None
    token = build_token(device_audience(HOST, "keyed"), int(time.time()) + 600, key=keyed.keys[0])
    assert await site.scope("keyed", None, token) == 200
    assert await site.scope("keyed", PRINTED, token) == 200, "a token wins"
    assert await site.scope("printed", PRINTED, token) == 401


@pytest.mark.parametrize("content", [None, b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_files_that_cannot_be_used_end_the_start(tmp_path: Path, content: bytes | None) -> None:
    site = Site(tmp_path)
    if content is None:
        (tmp_path / "certs.pem").unlink()
    else:
        (tmp_path / "certs.pem").write_bytes(content)
    with pytest.raises(CertificateError, match=r"cannot use the certificates of clients in .*certs\.pem"):
        await site.server.start()
