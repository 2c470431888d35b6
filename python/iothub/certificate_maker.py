"""Makes the hub's authority and server certificate. Apart from `certificates`, for the library is large."""

from __future__ import annotations

import ipaddress
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from iothub.certificates import CertificateError

if TYPE_CHECKING:
    from pathlib import Path

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 825


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # one that is there keeps its mode
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)


def make_certificate(folder: Path, hostname: str, now: float) -> None:
    """Writes `server.pem`, `server-key.pem` and the note about them; makes the authority if there is none.

    :raises CertificateError: the authority in the folder cannot be read.
    """
    start = datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    ca_key, ca = _load_ca(folder) or _make_ca(folder, start)
    key, certificate = _make_server(hostname, start, ca_key, ca)
    _write_private(folder / "server-key.pem", _key_pem(key))
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem) + ca.public_bytes(pem))
    note = {"hostname": hostname, "notAfter": certificate.not_valid_after_utc.timestamp()}
    (folder / "server.json").write_text(json.dumps(note))


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _load_ca(folder: Path) -> tuple[EllipticCurvePrivateKey, x509.Certificate] | None:
    try:
        key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CertificateError(f"the authority in {folder} is damaged: {error}") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise CertificateError(f"{folder / 'ca-key.pem'} is not an elliptic curve key")
    return key, certificate


def _make_ca(folder: Path, start: datetime) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "iothub CA")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    builder = _builder(name, name, key, start, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    certificate = builder.sign(key, hashes.SHA256())
    _write_private(folder / "ca-key.pem", _key_pem(key))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


def _make_server(
    hostname: str, start: datetime, ca_key: EllipticCurvePrivateKey, ca: x509.Certificate
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    builder = _builder(name, ca.subject, key, start, SERVER_DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName(_alternative_names(hostname)), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(server_auth, critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    return key, builder.sign(ca_key, hashes.SHA256())


def _alternative_names(hostname: str) -> list[x509.GeneralName]:
    """The host name, its first label, and the loopback names."""
    names = dict.fromkeys((hostname, hostname.partition(".")[0], "localhost"))
    addresses = ["127.0.0.1", "::1"]
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        pass
    else:
        names, addresses = {"localhost": None}, [hostname, *addresses]
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names if name]
    return found + [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, start: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
