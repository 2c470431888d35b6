"""Certificates of devices and of authorities, made in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLIENTS = ExtendedKeyUsageOID.CLIENT_AUTH
SERVERS = ExtendedKeyUsageOID.SERVER_AUTH
DAY_S = 86_400.0


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def sha1(self) -> str:
        return self.certificate.fingerprint(hashes.SHA1()).hex()

    @property
    def sha256(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, folder: Path, name: str, *above: Issued) -> tuple[Path, Path]:
        """PEM files: the chain, with the certificates above it, and the key."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(b"".join(item.pem for item in (self, *above)))
        key.write_bytes(self.key_pem)
        return chain, key


def issue(
    *common_names: str,
    now_s: float,
    by: Issued | None = None,
    authority: bool | None = None,
    path_length: int | None = None,
    start_s: float = -DAY_S,
    end_s: float = DAY_S,
    uses: Sequence[x509.ObjectIdentifier] = (),
    key_usage: str = "",
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    """A certificate, by default one that signs itself.

    :param authority: what the basic constraints say; None leaves them out.
    :param start_s: begin of its validity, from `now_s` on.
    :param uses: extended key usage; empty leaves it out.
    :param key_usage: the one that it has; empty leaves the extension out.
    """
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")
    subject = x509.Name([organisation, *subject])
    now = datetime.fromtimestamp(now_s, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=start_s))
        .not_valid_after(now + timedelta(seconds=end_s))
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if key_usage:
        builder = builder.add_extension(_key_usage(key_usage), critical=True)
    return Issued(builder.sign((by.key if by else own), hashes.SHA256()), own)


def authority(name: str, now_s: float, by: Issued | None = None) -> Issued:
    """An authority, by default a root."""
    return issue(name, now_s=now_s, by=by, authority=True)


def bundle(*authorities: Issued) -> bytes:
    """A trust bundle (PEM)."""
    return b"".join(item.pem for item in authorities)


def _key_usage(chosen: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name == chosen for name in names})
