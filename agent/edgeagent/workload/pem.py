"""Reading certificates and keys that operators give, with errors that say which file and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeagent.workload.certificates import CertificateAuthority
from edgeagent.workload.errors import AuthorityError

if TYPE_CHECKING:
    from datetime import datetime

    from edgeagent.workload.certificates import SigningKey

CHAIN_MAX = 10
"""Certificates in the file of a CA."""

BUNDLE_MAX = 500
"""Certificates in a trust bundle."""


def read_authority(certificate_pem: bytes, key_pem: bytes, place: str) -> CertificateAuthority:
    """A CA from its PEM texts.

    :param place: where the texts are from, for errors.
    :raises AuthorityError: malformed, not a CA, or the key of another certificate.
    """
    chain = read_certificates(certificate_pem, place, CHAIN_MAX)
    key = read_key(key_pem, place)
    try:
        _check_is_ca(chain[0])
        if chain[0].public_key() != key.public_key():
            raise AuthorityError("the key is not that of the first certificate")
    except AuthorityError as error:
        raise AuthorityError(f"{place}: {error}") from None
    return CertificateAuthority(chain, key)


def read_certificates(pem: bytes, place: str, count_max: int = BUNDLE_MAX) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM text.

    :raises AuthorityError: none, too many, or malformed.
    """
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for each in found:
            # What is parsed late is parsed now, so that nobody meets a damaged certificate later.
            _ = each.subject, each.issuer, each.extensions, each.public_key(), each.not_valid_after_utc
    except Exception as error:
        raise AuthorityError(f"{place}: no PEM certificates: {_short(error)}") from None
    if len(found) > count_max:
        raise AuthorityError(f"{place}: {len(found)} certificates; at most {count_max} are read")
    return found


def read_key(pem: bytes, place: str) -> SigningKey:
    """A private key of RSA or of an elliptic curve.

    :raises AuthorityError: malformed, encrypted, or of another kind.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise AuthorityError(f"{place}: the private key is encrypted; give one without a password") from None
    except Exception as error:
        raise AuthorityError(f"{place}: no PEM private key: {_short(error)}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{place}: the private key is neither RSA nor of an elliptic curve")
    return key


def unexpired(certificates: tuple[x509.Certificate, ...], now: datetime) -> tuple[x509.Certificate, ...]:
    """Those that have not ended."""
    return tuple(each for each in certificates if each.not_valid_after_utc > now)


def _check_is_ca(certificate: x509.Certificate) -> None:
    """:raises AuthorityError: others would not accept what it signs."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise AuthorityError("the first certificate is not a CA: it has no basic constraints") from None
    if not constraints.ca:
        raise AuthorityError("the first certificate is not a CA: its basic constraints say so")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise AuthorityError("the first certificate is not a CA: its key usage lacks keyCertSign")


def _short(error: Exception) -> str:
    """The first line; what libraries add is of no use to operators."""
    return str(error).partition("\n")[0][:200] or type(error).__name__
