"""Rows W09 to W11 and X06: what is in the certificates, and that TLS takes them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.certificates import (
    CertificateAuthority,
    IdentityWanted,
    ServerWanted,
    check_host_name,
    common_name_of,
    issue,
    self_signed_ca,
    to_pem,
)
from edgeagent.workload.errors import AuthorityError
from testkit import x509 as testing

if TYPE_CHECKING:
    from edgeagent.workload.certificates import CertificateWanted, IssuedCertificate

SERVER = ServerWanted("gateway.local", "edgeHub")
IDENTITY = IdentityWanted("m1", "hub.test", "dev1")


def chain_of(issued: IssuedCertificate) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(issued.chain_pem.encode())


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def uses_of(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_x06_quick_start_ca(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    """Row X06 and agent spec 7.6: 90 days, RSA-2048, path length 0, key usage."""
    certificate = quick_start_ca.certificate
    assert quick_start_ca.common_name == "aziot-edge CA dev1"
    assert certificate.issuer == certificate.subject
    assert certificate.not_valid_before_utc == now.replace(microsecond=0)
    assert certificate.not_valid_after_utc == now.replace(microsecond=0) + timedelta(days=90)
    assert isinstance(quick_start_ca.key, rsa.RSAPrivateKey)
    assert quick_start_ca.key.key_size == 2048
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_cert_sign
    assert not usage.value.crl_sign
    certificate.verify_directly_issued_by(certificate)


def test_w09_server_certificate(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    """Row W09."""
    issued = issue(quick_start_ca, SERVER, now)
    leaf, issuer = chain_of(issued)
    assert issuer == quick_start_ca.certificate
    leaf.verify_directly_issued_by(issuer)
    assert common_name_of(leaf) == "gateway.local"
    assert names_of(leaf).get_values_for_type(x509.DNSName) == ["gateway.local", "edgeHub"]
    assert uses_of(leaf) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.signature_hash_algorithm is not None
    assert leaf.signature_hash_algorithm.name == "sha256"
    assert leaf.not_valid_before_utc == now.replace(microsecond=0)
    assert leaf.not_valid_after_utc == issued.not_after == now.replace(microsecond=0) + timedelta(days=30)
    key = load_pem_private_key(issued.key_pem.encode(), None)
    assert issued.key_pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert key.public_key() == leaf.public_key()


def test_w09_never_longer_than_the_ca(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    """Row W09."""
    end = quick_start_ca.certificate.not_valid_after_utc
    assert issue(quick_start_ca, SERVER, now + timedelta(days=80)).not_after == end


def test_an_expired_ca_issues_nothing(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    for days in (90, 4000):
        with pytest.raises(AuthorityError, match="the CA certificate expired on 2026-10-30"):
            issue(quick_start_ca, SERVER, now + timedelta(days=days))


def test_a_clock_that_is_not_set_yet(quick_start_ca: CertificateAuthority) -> None:
    """A certificate begins no earlier than its CA, so that it is good once the clock is."""
    leaf = chain_of(issue(quick_start_ca, SERVER, datetime(1970, 1, 1, tzinfo=UTC)))[0]
    assert leaf.not_valid_before_utc == quick_start_ca.certificate.not_valid_before_utc


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "fe80::1"])
def test_w10_ip_addresses(quick_start_ca: CertificateAuthority, now: datetime, address: str) -> None:
    """Row W10."""
    leaf = chain_of(issue(quick_start_ca, ServerWanted(address, "m1"), now))[0]
    assert names_of(leaf).get_values_for_type(x509.IPAddress) == [ip_address(address)]
    assert names_of(leaf).get_values_for_type(x509.DNSName) == ["m1"]


def test_w11_identity_certificate(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    """Row W11."""
    leaf, issuer = chain_of(issue(quick_start_ca, IDENTITY, now))
    leaf.verify_directly_issued_by(issuer)
    assert common_name_of(leaf) == "m1"
    names = names_of(leaf).get_values_for_type(x509.DNSName)
    assert names == ["URI: azureiot://hub.test/devices/dev1/modules/m1"]
    assert uses_of(leaf) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "wanted", [ServerWanted("h" * 200, "m" * 128), IdentityWanted("m" * 128, "h", "d" * 128)]
)
def test_long_names_are_cut_in_the_subject_alone(
    quick_start_ca: CertificateAuthority, now: datetime, wanted: CertificateWanted
) -> None:
    leaf = chain_of(issue(quick_start_ca, wanted, now))[0]
    assert len(common_name_of(leaf)) == 64
    whole = wanted.common_name if isinstance(wanted, ServerWanted) else wanted.module_id
    assert whole in names_of(leaf).get_values_for_type(x509.DNSName)[0]


def test_every_call_has_its_own_key(quick_start_ca: CertificateAuthority, now: datetime) -> None:
    first, second = (issue(quick_start_ca, SERVER, now) for _ in range(2))
    assert first.key_pem != second.key_pem
    assert chain_of(first)[0].serial_number != chain_of(second)[0].serial_number
    assert "PRIVATE KEY" not in repr(first)


def test_tls_takes_it(quick_start_ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A handshake in memory with the strictest checks of OpenSSL, between two CAs of one name."""
    real_now = datetime.now(UTC)
    ca = self_signed_ca("dev1", real_now, timedelta(days=90))
    issued = issue(ca, SERVER, real_now)
    folder = tmp_path_factory.mktemp("tls")
    (folder / "chain.pem").write_text(issued.chain_pem)
    (folder / "key.pem").write_text(issued.key_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=to_pem((quick_start_ca.certificate, ca.certificate)))
    assert handshake(server, client, "gateway.local") == "aziot-edge CA dev1"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "other.local")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """Common name of the issuer that the client saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = sides[0].getpeercert()
    assert found is not None
    issuer: object = found["issuer"]
    assert isinstance(issuer, tuple)
    return str(issuer[0][0][1])


def test_a_ca_with_an_elliptic_key(now: datetime) -> None:
    made = testing.authority("own CA", now.timestamp())
    ca = CertificateAuthority((made.certificate,), made.key)
    leaf, issuer = chain_of(issue(ca, SERVER, now))
    leaf.verify_directly_issued_by(issuer)
    assert isinstance(issuer.public_key(), ec.EllipticCurvePublicKey)


def test_a_chain_above_the_ca_is_handed_out(now: datetime) -> None:
    root = testing.authority("root", now.timestamp())
    made = testing.authority("own CA", now.timestamp(), by=root)
    ca = CertificateAuthority((made.certificate, root.certificate), made.key)
    assert chain_of(issue(ca, SERVER, now))[1:] == [made.certificate, root.certificate]


@pytest.mark.parametrize("name", ["gateway", "g.example.net", "10.0.0.1", "::1", "gw_1", "x" * 253])
def test_host_names(name: str) -> None:
    check_host_name(name, "aziot-edge CA dev1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "1 to 253"),
        ("x" * 254, "1 to 253"),
        ("gätewäy", "ASCII"),
        ("a b", "ASCII"),
        ("a\n", "ASCII"),
        ("a\0", "ASCII"),
        ("own-ca", "name of the CA"),
    ],
)
def test_names_that_no_server_may_have(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_host_name(name, "own-ca")


@given(st.text(min_size=1, max_size=260))
def test_every_accepted_name_fits_into_a_certificate(name: str) -> None:
    try:
        check_host_name(name, "own-ca")
    except ValueError:
        return
    x509.SubjectAlternativeName([x509.DNSName(name)]).public_bytes()
