"""Who the hub is, from the settings; certificates from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgehub.config.load import SettingsError, load_settings
from edgehub.hub.certificates import read_server_certificate, read_trust_bundle
from edgehub.hub.own_identity import HubIdentity, resolve_identity

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = "HostName=hub.test;DeviceId=edge1;ModuleId=$edgeHub;SharedAccessKey=AAECAw=="
MODULE = {"IOTEDGE_DEVICEID": "edge1", "IOTEDGE_IOTHUBHOSTNAME": "hub.test"}
ALONE = {"RoutesFile": "r.json", "IdentitiesFile": "i.json"}


def resolve(environment: dict[str, str]) -> HubIdentity:
    settings = load_settings(environment).settings
    return resolve_identity(settings.identity, settings.upstream)


def test_a_connection_string() -> None:
    identity = resolve(
        {"IotHubConnectionString": CONNECTION, "EDGEDEVICEHOSTNAME": "gw", "IOTEDGE_DEVICEID": "x"}
    )
    assert (identity.device_id, str(identity.id)) == ("edge1", "edge1/$edgeHub")
    assert identity.key == bytes(range(4))
    assert (identity.hub_host, identity.upstream_host) == ("hub.test", "hub.test")
    assert identity.token_hosts == ("hub.test", "gw")
    assert identity.has_upstream
    assert "AAECAw" not in repr(identity)
    assert "x01" not in repr(identity)


@pytest.mark.parametrize(
    "environment",
    [
        {"IotHubConnectionString": CONNECTION + ";GatewayHostName=parent"},
        {"IotHubConnectionString": CONNECTION, "IOTEDGE_GATEWAYHOSTNAME": "parent"},
    ],
)
def test_a_parent_edge_device(environment: dict[str, str]) -> None:
    identity = resolve(environment)
    assert (identity.hub_host, identity.upstream_host) == ("hub.test", "parent")


def test_under_an_agent() -> None:
    identity = resolve(
        MODULE | {"IOTEDGE_WORKLOADURI": "unix:///w.sock", "IOTEDGE_GATEWAYHOSTNAME": "parent"}
    )
    assert identity.workload_uri == "unix:///w.sock"
    assert (identity.key, identity.has_upstream, identity.upstream_host) == (None, True, "parent")


@pytest.mark.parametrize("routes", [{"RoutesFile": "r.json"}, {"configSource": "local"}])
def test_alone(routes: dict[str, str]) -> None:
    identity = resolve(MODULE | routes | {"IdentitiesFile": "i.json"})
    assert not identity.has_upstream


def test_alone_with_the_name_of_the_device_only() -> None:
    assert resolve({"IOTEDGE_DEVICEID": "e", "EDGEDEVICEHOSTNAME": "gw"} | ALONE).token_hosts == ("gw",)


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({}, "set IotHubConnectionString, or IOTEDGE_DEVICEID"),
        ({"IotHubConnectionString": "HostName=h;key=secret"}, "DeviceId is missing"),
        ({"IotHubConnectionString": CONNECTION.replace("$edgeHub", "other")}, "expected ModuleId=$edgeHub"),
        (
            {"IotHubConnectionString": CONNECTION.replace("ModuleId=$edgeHub;", "")},
            "expected ModuleId=$edgeHub",
        ),
        (MODULE | {"IOTEDGE_MODULEID": "m"}, "IOTEDGE_MODULEID='m'"),
        ({"IOTEDGE_DEVICEID": "e"} | ALONE, "IOTEDGE_IOTHUBHOSTNAME or EDGEDEVICEHOSTNAME"),
        (MODULE, "set RoutesFile, or configSource=local"),
        (MODULE | {"RoutesFile": "r.json"}, "set IdentitiesFile"),
        (
            {"IOTEDGE_DEVICEID": "e", "EDGEDEVICEHOSTNAME": "gw", "IOTEDGE_WORKLOADURI": "unix:///w"},
            "IOTEDGE_IOTHUBHOSTNAME",
        ),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], part: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(environment)
    assert part in str(error.value)
    assert "secret" not in str(error.value)
    assert "AAECAw" not in str(error.value)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "c.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "k.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "other").write_bytes(b"\x30\x82")
    return tmp_path


def test_certificate_files(files: Path) -> None:
    settings = load_settings(
        {
            "EdgeHubDevServerCertificateFile": str(files / "c.pem"),
            "EdgeHubDevServerPrivateKeyFile": str(files / "k.pem"),
            "EdgeHubDevTrustBundleFile": str(files / "c.pem"),
        }
    ).settings.identity
    certificate = read_server_certificate(settings)
    assert certificate is not None
    assert b"CERTIFICATE" in certificate.chain_pem
    assert "PRIVATE" not in repr(certificate)
    assert read_trust_bundle(settings) == certificate.chain_pem


def test_no_certificate_files() -> None:
    settings = load_settings({}).settings.identity
    assert read_server_certificate(settings) is None
    assert read_trust_bundle(settings) is None


@pytest.mark.parametrize(
    ("certificate", "key", "part"),
    [
        ("c.pem", "", "set both"),
        ("", "k.pem", "set both"),
        ("none", "k.pem", "EdgeHubDevServerCertificateFile="),
        ("c.pem", "none", "EdgeHubDevServerPrivateKeyFile="),
        ("other", "k.pem", "PEM"),
    ],
)
def test_bad_certificate_files(files: Path, certificate: str, key: str, part: str) -> None:
    settings = load_settings(
        {
            "EdgeHubDevServerCertificateFile": str(files / certificate) if certificate else "",
            "EdgeHubDevServerPrivateKeyFile": str(files / key) if key else "",
        }
    ).settings.identity
    with pytest.raises(SettingsError, match=part):
        read_server_certificate(settings)
