"""Dates, names and chains of certificates. Imported late: it loads `cryptography`.

Its verifier builds the way from a client's certificate to an authority of the trust bundle and checks what
stands on the way: signatures (RSA from 2048 bits, P-256, P-384, P-521; SHA-2), dates of every certificate,
path lengths, name constraints, and the extensions named in the policies below. Its own policy for clients is
that of the web, which wants a subject alternative name; devices have their id in the common name, so the
policy is ours and the name is compared here. It knows nothing of revocation (heads spec 4.2 wants none).
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from edgehub.identity.client_certificates import CertificateFault

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTHORITIES_BETWEEN_MAX: Final = 5
"""Authorities between a client's certificate and one of the trust bundle; a longer chain is refused."""
INTERMEDIATES_MAX: Final = 8
"""Certificates beside its own that are looked at; what a client sends beyond is not."""
SAME_KEY_MAX: Final = 2
"""Of those with one name and one key as many are looked at: any of them could have issued any other, and the
ways to try would be powers of their number."""
_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM_END: Final = b"-----END CERTIFICATE-----"
_UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
_REFUSED: Final = (VerificationError, *_UNREADABLE)

log = logging.getLogger(__name__)


class CertificatePaths:
    """Judges certificates against one trust bundle.

    :param trust_pem: PEM text, None for no authority. Certificates in it that cannot be read are left out
        with a warning.
    """

    def __init__(self, trust_pem: bytes | None) -> None:
        authorities = _authorities(trust_pem or b"")
        self._store = Store(authorities) if authorities else None
        self._policies = {"ca_policy": _authority_policy(), "ee_policy": _client_policy()}

    def check_dates(self, certificate: bytes, now_s: float) -> float:
        """Unix time at which a certificate ends.

        :raises CertificateFault: it cannot be read, has ended, or is not valid yet.
        """
        return _check_dates(_read(certificate), now_s)

    def check_chain(self, certificates: Sequence[bytes], device_id: str, now_s: float) -> float:
        """Unix time until which an authority of the trust bundle vouches for a device.

        :param certificates: DER, the device's own first.
        :raises CertificateFault: none does.
        """
        own = _read(certificates[0])
        _check_name(own, device_id)
        _check_dates(own, now_s)
        if self._store is None:
            raise CertificateFault("there is no trust bundle with authorities of devices")
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(datetime.fromtimestamp(now_s, UTC))
            .max_chain_depth(AUTHORITIES_BETWEEN_MAX)
            .extension_policies(**self._policies)
            .build_client_verifier()
        )
        try:
            chain = verifier.verify(own, _intermediates(certificates[1:])).chain
        except _REFUSED as error:
            # It may quote a subject, which is as long as whoever sent it wanted.
            reason = f"no authority of the trust bundle vouches for the certificate: {str(error)[:200]}"
            raise CertificateFault(reason, stale=True) from None
        return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)


def _read(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except _UNREADABLE as error:
        raise CertificateFault(f"the certificate cannot be read: {error}") from None


def _check_dates(certificate: x509.Certificate, now_s: float) -> float:
    try:
        starts_at = certificate.not_valid_before_utc.timestamp()
        ends_at = certificate.not_valid_after_utc.timestamp()
    except _UNREADABLE as error:
        raise CertificateFault(f"the dates of the certificate cannot be read: {error}") from None
    if now_s > ends_at:
        raise CertificateFault("the certificate has expired")
    if now_s < starts_at:
        raise CertificateFault("the certificate is not valid yet")
    return ends_at


def _check_name(certificate: x509.Certificate, device_id: str) -> None:
    """One common name, which is the device's id to the letter."""
    try:
        names = [item.value for item in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except _UNREADABLE as error:
        raise CertificateFault(f"the subject of the certificate cannot be read: {error}") from None
    if names != [device_id]:
        shown = ", ".join(repr(name)[:150] for name in names) or "none"
        raise CertificateFault(f"the common name of the certificate is {shown}, not {device_id!r}")


def _intermediates(certificates: Sequence[bytes]) -> list[x509.Certificate]:
    """Those that can be read; what is missing then is told by the verifier."""
    found: list[x509.Certificate] = []
    seen: Counter[tuple[bytes, bytes]] = Counter()
    for data in certificates[:INTERMEDIATES_MAX]:
        try:
            certificate = x509.load_der_x509_certificate(data)
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            place = (certificate.subject.public_bytes(), key)
        except _UNREADABLE:
            continue
        seen[place] += 1
        if seen[place] <= SAME_KEY_MAX:
            found.append(certificate)
    return found


def _authorities(trust_pem: bytes) -> list[x509.Certificate]:
    found = []
    for number, part in enumerate(trust_pem.split(_PEM_BEGIN)[1:], 1):
        body, end, _ = part.partition(_PEM_END)
        try:
            found.append(x509.load_pem_x509_certificate(_PEM_BEGIN + body + end + b"\n"))
        except _UNREADABLE as error:
            log.warning(
                "Certificate %d of the trust bundle cannot be read and is left out: %s", number, error
            )
    return found


# What the extensions of a certificate may say; what raises here is a verification error.


def _client_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign_handshakes)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
    )


def _authority_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign_certificates)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
    )


def _is_no_authority(_: Policy, __: x509.Certificate, found: x509.BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("the client's certificate is that of an authority")


def _is_authority(_: Policy, __: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("the issuer is no authority")


def _may_sign_handshakes(_: Policy, __: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not (found.digital_signature or found.key_agreement):
        raise ValueError("the key usage of the client's certificate has no digitalSignature")


def _may_sign_certificates(_: Policy, __: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("the key usage of the issuer has no keyCertSign")


def _is_for_clients(_: Policy, __: x509.Certificate, found: x509.ExtendedKeyUsage | None) -> None:
    """A certificate for servers, as modules get them from the workload API, proves no device."""
    if found is None:
        return
    if (
        ExtendedKeyUsageOID.CLIENT_AUTH not in found
        and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in found
    ):
        raise ValueError("the extended key usage has no clientAuth")
