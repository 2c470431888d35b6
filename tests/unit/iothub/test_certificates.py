"""The hub's own authority and server certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from iothub.certificates import CertificateError, ServerCertificate, own_certificate, server_context

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_767_225_600.0
DAY = 86400


def leaf(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())


def test_made_once_and_kept(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, "hub.local", NOW)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert own_certificate(tmp_path, "hub.local", NOW + 700 * DAY) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    for name in ("ca-key.pem", "server-key.pem"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_what_is_in_it(tmp_path: Path) -> None:
    found = own_certificate(tmp_path, "hub.example.test", NOW)
    certificate = leaf(tmp_path)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example.test", "hub", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert server_context(found).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("hostname", ["192.0.2.7", "2001:db8::1", "x" * 80 + ".test"])
def test_odd_host_names(tmp_path: Path, hostname: str) -> None:
    own_certificate(tmp_path, hostname, NOW)
    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    shown = [str(name.value) for name in names]
    assert hostname in shown


@pytest.mark.parametrize(("hostname", "later"), [("other.local", 0), ("hub.local", 800 * DAY)])
def test_renewed_below_the_same_authority(tmp_path: Path, hostname: str, later: float) -> None:
    own_certificate(tmp_path, "hub.local", NOW)
    authority, before = (tmp_path / "ca.pem").read_bytes(), leaf(tmp_path)
    own_certificate(tmp_path, hostname, NOW + later)
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert leaf(tmp_path).serial_number != before.serial_number
    leaf(tmp_path).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_missing_files_are_made_again(tmp_path: Path) -> None:
    own_certificate(tmp_path, "hub.local", NOW)
    (tmp_path / "server-key.pem").unlink()
    server_context(own_certificate(tmp_path, "hub.local", NOW))


def test_a_damaged_authority_is_an_error_not_a_new_one(tmp_path: Path) -> None:
    own_certificate(tmp_path, "hub.local", NOW)
    (tmp_path / "ca-key.pem").write_text("garbage")
    with pytest.raises(CertificateError, match="damaged"):
        own_certificate(tmp_path, "other.local", NOW)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        own_certificate(folder, "hub.local", NOW)
    mixed = ServerCertificate(one / "server.pem", two / "server-key.pem", None)
    with pytest.raises(CertificateError, match="cannot use certificate"):
        server_context(mixed)
