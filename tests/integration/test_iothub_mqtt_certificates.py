"""Devices with certificates at iothub's MQTT endpoint, with the unmodified SDK (row 14)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from iothub.registry.model import parse_device
from testkit import x509
from testkit.iothub_devices import HOST, authority, events, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iothub.server import HubServer

# The SDK asks for a version of TLS in a way that Python has grown out of, and leaves sockets open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
NOW = time.time()
ROOT = x509.authority("root", NOW)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    ca_file = tmp_path / "devices.pem"
    ca_file.write_bytes(ROOT.pem)
    async with serving(tmp_path / "hub", client_ca_file=ca_file) as made:
        yield made


async def register(server: HubServer, kind: str, **thumbprints: str) -> None:
    authentication = {"type": kind, "x509Thumbprint": thumbprints} if thumbprints else {"type": kind}
    await server.registry.put_device(parse_device("d1", {"authentication": authentication}), None)


def client(server: HubServer, folder: Path, shown: x509.Issued) -> Any:
    """The SDK's client of d1."""
    from azure.iot.device import X509
    from azure.iot.device.aio import IoTHubDeviceClient

    chain, key = shown.write(folder, "device")
    kind: Any = IoTHubDeviceClient
    pair: Any = X509
    return kind.create_from_x509_certificate(
        x509=pair(str(chain), str(key)),
        hostname=HOST,
        device_id="d1",
        server_verification_cert=authority(server).read_text(),
        connection_retry=False,
    )


@pytest.mark.parametrize(
    ("digest", "slot"), [("sha1", "primaryThumbprint"), ("sha256", "secondaryThumbprint")]
)
async def test_row_14_a_thumbprint(server: HubServer, tmp_path: Path, digest: str, slot: str) -> None:
    shown = x509.issue("whatever", now_s=NOW)
    await register(server, "selfSigned", **{slot: getattr(shown, digest).upper()})
    device = client(server, tmp_path, shown)
    await device.connect()
    await device.send_message("by thumbprint")
    (event,) = await events(server, 1)
    assert (event.body, event.origin.auth_type) == (b"by thumbprint", "selfSigned")
    await device.shutdown()


async def test_row_14_an_authority_and_the_common_name(server: HubServer, tmp_path: Path) -> None:
    await register(server, "certificateAuthority")
    device = client(server, tmp_path, x509.issue("d1", now_s=NOW, by=ROOT))
    await device.connect()
    await device.send_message("by authority")
    (event,) = await events(server, 1)
    assert event.body == b"by authority"
    await device.shutdown()


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(x509.issue("d2", now_s=NOW, by=ROOT), id="name"),
        pytest.param(x509.issue("d1", now_s=NOW, by=x509.authority("root", NOW)), id="authority"),
        pytest.param(x509.issue("d1", now_s=NOW, by=ROOT, end_s=-60), id="time"),
        pytest.param(x509.issue("d1", now_s=NOW), id="itself"),
    ],
)
async def test_others_are_refused(server: HubServer, tmp_path: Path, shown: x509.Issued) -> None:
    await register(server, "certificateAuthority")
    device = client(server, tmp_path, shown)
    with pytest.raises(Exception, match=r"(?i)credential|not authori[sz]ed|refused"):
        await device.connect()
    await device.shutdown()
