"""Options of `iothub device create` for devices with certificates."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import TYPE_CHECKING, Any, Final

from iothub.cli.client import ClientError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THUMBPRINTS_MAX: Final = 2
"""Primary and secondary."""
FILE_BYTES_MAX: Final = 1024 * 1024
_HEX: Final = re.compile(r"[0-9A-Fa-f]*", re.ASCII)
_DIGITS: Final = {40: "SHA-1", 64: "SHA-256"}
_END: Final = "-----END CERTIFICATE-----"


def x509_authentication(
    thumbprints: Sequence[str], certificates: Sequence[Path], by_authority: bool
) -> dict[str, Any] | None:
    """The `authentication` of a device, None for one with keys.

    :param thumbprints: SHA-1 or SHA-256 of certificates, also with the colons that other tools print.
    :param certificates: PEM files whose thumbprints are taken; those of `thumbprints` come first.
    :param by_authority: any certificate of an authority with the device id as its common name.
    :raises ClientError: they contradict each other, are too many, or one cannot be read.
    """
    if by_authority:
        if thumbprints or certificates:
            raise ClientError("--x509-ca stands alone: with --thumbprint or --certificate it says two things")
        return {"type": "certificateAuthority"}
    found = [check_thumbprint(text) for text in thumbprints] + [thumbprint_of(path) for path in certificates]
    if not found:
        return None
    if len(found) > THUMBPRINTS_MAX:
        raise ClientError(f"a device has {THUMBPRINTS_MAX} thumbprints at most, not {len(found)}")
    names = ("primaryThumbprint", "secondaryThumbprint")
    return {"type": "selfSigned", "x509Thumbprint": dict(zip(names, found, strict=False))}


def check_thumbprint(text: str) -> str:
    """A thumbprint without separators, in upper case.

    :raises ClientError: it is none.
    """
    digits = re.sub(r"[\s:]", "", text)
    if not _HEX.fullmatch(digits) or len(digits) not in _DIGITS:
        wanted = " or ".join(f"{count} ({name})" for count, name in _DIGITS.items())
        raise ClientError(f"--thumbprint {text[:100]!r} must have {wanted} hexadecimal digits")
    return digits.upper()


def thumbprint_of(path: Path) -> str:
    """SHA-256 thumbprint of the first certificate of a PEM file.

    :raises ClientError: it cannot be read, or holds none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise ClientError(f"--certificate {path}: {error.strerror}") from None
    begin = text.find(ssl.PEM_HEADER)
    end = text.find(_END, begin)
    try:
        certificate = ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)]) if 0 <= begin < end else b""
    except ValueError:
        certificate = b""
    if not certificate:
        raise ClientError(f"--certificate {path}: expected a PEM file with a certificate")
    return hashlib.sha256(certificate).hexdigest().upper()
