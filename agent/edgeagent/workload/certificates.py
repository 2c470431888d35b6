"""Certificates as plain functions: the quick-start CA, and what a CA issues (agent spec 7.3, 7.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeagent.workload.errors import AuthorityError

RSA_BITS = 2048
RSA_EXPONENT = 65537
LEAF_VALIDITY = timedelta(days=30)
COMMON_NAME_CHARS_MAX = 64
"""Longest common name of X.509; longer ones are cut, the alternative names have them whole."""

HOST_NAME_CHARS_MAX = 253

SigningKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA certificate with its key.

    :param chain: the CA first, then what vouches for it; never empty.
    """

    chain: tuple[x509.Certificate, ...]
    key: SigningKey = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def common_name(self) -> str:
        return common_name_of(self.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in hexadecimal digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True, slots=True)
class ServerWanted:
    """A server certificate for a module.

    :param common_name: host name or IP address.
    :param module_name: module id without `$`.
    """

    common_name: str
    module_name: str


@dataclass(frozen=True, slots=True)
class IdentityWanted:
    """A client certificate that says which module this is.

    :param hub_host: host name of the hub, with `device_id` in the alternative name.
    """

    module_id: str
    hub_host: str
    device_id: str


CertificateWanted: TypeAlias = ServerWanted | IdentityWanted


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """PEM texts, leaf before issuer, and the end of validity."""

    chain_pem: str
    key_pem: str = field(repr=False)
    not_after: datetime


def self_signed_ca(device_id: str, now: datetime, validity: timedelta) -> CertificateAuthority:
    """The quick-start CA: a fresh RSA key that vouches for itself. Slow: makes a key."""
    key = _rsa_key()
    name = _name(f"aziot-edge CA {device_id}")
    start = now.replace(microsecond=0)
    builder = (
        _builder(name, key.public_key(), start, start + validity)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
    )
    return CertificateAuthority((builder.sign(key, hashes.SHA256()),), key)


def issue(ca: CertificateAuthority, wanted: CertificateWanted, now: datetime) -> IssuedCertificate:
    """A certificate for a module, with a fresh key. Slow: makes a key.

    Valid for 30 days, but never longer than the CA.

    :raises AuthorityError: the CA expired.
    """
    start = max(now.replace(microsecond=0), ca.certificate.not_valid_before_utc)
    end = min(start + LEAF_VALIDITY, ca.certificate.not_valid_after_utc)
    if end <= start:
        raise AuthorityError(f"the CA certificate expired on {end.isoformat()}")
    key = _rsa_key()
    subject, names, usage = _leaf_fields(wanted)
    builder = (
        _builder(_name(subject), key.public_key(), start, end)
        .issuer_name(ca.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key_encipherment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_issuer_key_id(ca), critical=False)
    )
    leaf = builder.sign(ca.key, hashes.SHA256())
    return IssuedCertificate(to_pem((leaf, *ca.chain)), key_to_pem(key), end)


def check_host_name(name: str, ca_common_name: str) -> None:
    """Whether a server certificate may have this common name.

    :raises ValueError: not a host name or IP address, or the name of the CA itself, with which a verifier
        would take the leaf for its own issuer (agent spec 7.6).
    """
    if not name or len(name) > HOST_NAME_CHARS_MAX:
        raise ValueError(f"expected a host name or IP address of 1 to {HOST_NAME_CHARS_MAX} characters")
    if not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError("expected a host name or IP address in ASCII characters without spaces")
    if name == ca_common_name:
        raise ValueError("this is the name of the CA")


def to_pem(certificates: tuple[x509.Certificate, ...]) -> str:
    """PEM texts one after the other."""
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def key_to_pem(key: SigningKey) -> str:
    """PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def common_name_of(certificate: x509.Certificate) -> str:
    """Common name of the subject, empty without one."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def utc_now() -> datetime:
    return datetime.now(UTC)


def _leaf_fields(wanted: CertificateWanted) -> tuple[str, list[x509.GeneralName], x509.ObjectIdentifier]:
    if isinstance(wanted, ServerWanted):
        names = [_host(wanted.common_name), x509.DNSName(wanted.module_name)]
        return wanted.common_name, names, ExtendedKeyUsageOID.SERVER_AUTH
    where = f"{wanted.hub_host}/devices/{wanted.device_id}/modules/{wanted.module_id}"
    # A DNS entry with the text of a URI: so the reference does, and clients look for it there.
    return wanted.module_id, [x509.DNSName(f"URI: azureiot://{where}")], ExtendedKeyUsageOID.CLIENT_AUTH


def _host(name: str) -> x509.GeneralName:
    address: IPv4Address | IPv6Address
    try:
        address = ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(address)


def _builder(
    subject: x509.Name, key: rsa.RSAPublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, key_cert_sign: bool = False, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_key_id(ca: CertificateAuthority) -> x509.AuthorityKeyIdentifier:
    try:
        found = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:COMMON_NAME_CHARS_MAX])])


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
