"""Certificates of the device: whether they are valid, and fit their keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edgeagent.checks.model import Finding, error, ok, warning

SOON = timedelta(days=7)


def check_validity(name: str, pem: bytes, now: datetime, advice: str) -> Finding:
    """Less than a week left is a warning, none an error (agent spec 8.2).

    :param name: what it is, for the text.
    :param advice: what to do.
    """
    from cryptography import x509  # noqa: PLC0415 - heavy

    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, IndexError):
        return error(f"{name} is no PEM certificate", advice)
    info = {"not_after": ends.isoformat()}
    if now < begins:
        return error(f"{name} is valid from {_shown(begins)} on only", "set the clock of the device", **info)
    if now >= ends:
        return error(f"{name} expired at {_shown(ends)}", advice, **info)
    if ends - now < SOON:
        return warning(f"{name} expires at {_shown(ends)}", advice, **info)
    return ok(**info)


def check_pair(certificate_pem: bytes, key_pem: bytes) -> Finding:
    """Whether a private key is that of a certificate."""
    from cryptography import x509  # noqa: PLC0415 - heavy
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
        key = serialization.load_pem_private_key(key_pem, None)
        is_pair = key.public_key() == certificate.public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return error("edge_ca: cert or pk cannot be read as PEM", "give both, the key without a password")
    if not is_pair:
        return error("edge_ca.pk is not the key of edge_ca.cert", "give the one it was made for")
    return ok()


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
