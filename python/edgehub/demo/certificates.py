"""Certificates for the occasion: one authority, and short-lived P-256 server certificates."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

VALIDITY: Final = timedelta(days=2)
CLOCK_SLACK: Final = timedelta(minutes=10)
"""Certificates begin to be valid this long before they are made, for clocks that are behind."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files of a server: its chain, and its private key (mode 0600)."""

    chain: Path
    key: Path


class Authority:
    """A certificate authority whose key never leaves memory.

    :param folder: existing folder for the files; only its owner should be able to read it.
    """

    def __init__(self, folder: Path, common_name: str = "edgehub demo CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        self._certificate = self._self_signed()
        self.file = folder / "ca.pem"
        """PEM file with the authority's certificate, for those that are to trust it."""
        _write(self.file, self._certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def issue(self, label: str, names: tuple[str, ...]) -> ServerFiles:
        """A server certificate.

        :param label: stem of the file names.
        :param names: host names and IP addresses that the server is reached by; the first is its common name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key, names)
        files = ServerFiles(self._folder / f"{label}.pem", self._folder / f"{label}.key")
        chain = b"".join(
            certificate.public_bytes(serialization.Encoding.PEM) for certificate in (leaf, self._certificate)
        )
        _write(files.chain, chain, 0o644)
        _write(files.key, _private_pem(key), 0o600)
        return files

    def _self_signed(self) -> x509.Certificate:
        public = self._key.public_key()
        return (
            _builder(self._name, self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _leaf(self, key: ec.EllipticCurvePrivateKey, names: tuple[str, ...]) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return (
            _builder(subject, self._name, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + VALIDITY)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes a new file that has its mode from the first moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
