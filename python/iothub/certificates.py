"""A certificate authority and a server certificate of the hub's own, for those who bring none.

Made once and kept: clients trust `ca.pem`. The server certificate is made anew when the host name changes or
it nears its end. P-256 keys: a handshake costs less than with RSA.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from pathlib import Path

RENEW_DAYS: Final = 30


class CertificateError(EdgehubError):
    """A certificate or key cannot be used."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Files of the server's certificate.

    :ivar ca_file: what clients must trust; None when the operator brought the certificate.
    """

    cert_file: Path
    key_file: Path
    ca_file: Path | None


def server_context(certificate: ServerCertificate, client_files: Sequence[Path] = ()) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with this certificate.

    :param client_files: authorities of clients, and certificates of clients themselves (PEM). Without any,
        clients are not asked for a certificate; with them, they need not have one, but one that they show
        must be among these or below one of them: Python's TLS takes no other.
    :raises CertificateError: the files cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate.cert_file, certificate.key_file)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(
            f"cannot use certificate {certificate.cert_file} with key {certificate.key_file}: {error}"
        ) from None
    for file in client_files:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(f"cannot use the certificates of clients in {file}: {error}") from None
    return context


def client_certificate(transport: asyncio.BaseTransport | None) -> bytes | None:
    """What the client of a connection showed in its TLS handshake (DER); None for nothing."""
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    found: bytes | None = None if connection is None else connection.getpeercert(binary_form=True)
    return found


def own_certificate(folder: Path, hostname: str, now: float) -> ServerCertificate:
    """The hub's own certificate in `folder`, made or renewed if needed."""
    found = ServerCertificate(folder / "server.pem", folder / "server-key.pem", folder / "ca.pem")
    if not _is_current(folder, hostname, now):
        from iothub.certificate_maker import make_certificate  # noqa: PLC0415 - the library costs 16 MB

        make_certificate(folder, hostname, now)
    return found


def _is_current(folder: Path, hostname: str, now: float) -> bool:
    """By a note beside the files, so that a start without renewal need not load a certificate library."""
    try:
        note = json.loads((folder / "server.json").read_text())
        files = all((folder / name).exists() for name in ("ca.pem", "server.pem", "server-key.pem"))
        return files and note["hostname"] == hostname and note["notAfter"] > now + RENEW_DAYS * 86400
    except (OSError, ValueError, KeyError, TypeError):
        return False
