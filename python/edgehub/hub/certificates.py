"""Server certificate and trust bundle: from files, or from the workload API of an agent."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from edgehub.config.load import SettingsError
from edgehub.errors import EdgehubError
from edgehub.hub.renewal import renewal_due_s

if TYPE_CHECKING:
    from edgehub.common.clock import Clock
    from edgehub.config.settings import IdentitySettings
    from edgehub.identity.workload import WorkloadClient

FILE_BYTES_MAX = 1024 * 1024
VALIDITY_DAYS = 90
"""Validity asked of the workload API; it may issue a shorter one."""

log = logging.getLogger(__name__)


class CertificateError(EdgehubError):
    """A server certificate or its key that cannot be used."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM texts of a certificate chain and its key.

    :param renewal_due_s: wall-clock second at which it has to be replaced, None for never.
    """

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    renewal_due_s: float | None = None


class Certificates:
    """Where certificates come from: files win over the workload API.

    :param workload: None without an agent.
    :param host: name for an issued certificate; empty: the name of this machine.
    :raises SettingsError: the files are named but cannot be used.
    """

    def __init__(self, settings: IdentitySettings, workload: WorkloadClient | None, host: str) -> None:
        self._has_files = read_server_certificate(settings) is not None
        self._settings = settings
        self._workload = workload
        self._host = host or socket.gethostname()

    @property
    def available(self) -> bool:
        """Whether there is any source of a server certificate."""
        return self._has_files or self._workload is not None

    async def server(self, clock: Clock, renew_after_ms: int) -> ServerCertificate | None:
        """The server certificate, issued or read now; None without a source.

        :raises EdgehubError: the files cannot be used any more, or the workload API does not issue.
        """
        if self._has_files or self._workload is None:
            return read_server_certificate(self._settings)
        expires = (datetime.fromtimestamp(clock.wall_s(), UTC) + timedelta(days=VALIDITY_DAYS)).isoformat()
        issued = await self._workload.server_certificate(self._host, expires)
        log.info("Loaded server certificate with expiration date of %s", issued.expires)
        due_s = renewal_due_s(issued.expires, renew_after_ms, clock.wall_s())
        return ServerCertificate(issued.chain_pem, issued.key_pem, due_s)

    def file_marks(self) -> tuple[object, ...]:
        """Something that differs once the files are others; empty without files."""
        if not self._has_files:
            return ()
        return tuple(
            _mark(name) for name in (self._settings.server_certificate_file, self._settings.server_key_file)
        )

    async def trust_bundle(self) -> bytes | None:
        """PEM text of the certificates to trust beside the system's, None without a source."""
        if self._settings.trust_bundle_file or self._workload is None:
            return read_trust_bundle(self._settings)
        return await self._workload.trust_bundle()


def read_server_certificate(settings: IdentitySettings) -> ServerCertificate | None:
    """The certificate that the settings name, None when they name none.

    :raises SettingsError: only one of the two files is named, or one cannot be read or is no PEM file.
    """
    chain, key = settings.server_certificate_file, settings.server_key_file
    if not chain and not key:
        return None
    if not chain or not key:
        raise SettingsError(
            "set both EdgeHubDevServerCertificateFile and EdgeHubDevServerPrivateKeyFile, or none"
        )
    return ServerCertificate(
        _read_pem("EdgeHubDevServerCertificateFile", chain), _read_pem("EdgeHubDevServerPrivateKeyFile", key)
    )


def read_trust_bundle(settings: IdentitySettings) -> bytes | None:
    """PEM text of the certificates to trust beside the system's, None when the settings name no file.

    :raises SettingsError: the file cannot be read or is no PEM file.
    """
    if not settings.trust_bundle_file:
        return None
    return _read_pem("EdgeHubDevTrustBundleFile", settings.trust_bundle_file)


def check_trust_bundle(pem: bytes) -> None:
    """Makes sure that a trust bundle holds certificates; what uses it later would only say that none fits.

    :raises SettingsError: it does not.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"EdgeHubDevTrustBundleFile: the trust bundle cannot be read: {error}") from None


def _mark(name: str) -> tuple[int, int, int] | None:
    """Changes with every way of replacing a file; None when it is gone."""
    try:
        status = Path(name).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_pem(variable: str, name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{variable}={name}: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX or b"-----BEGIN " not in data:
        raise SettingsError(f"{variable}={name}: expected a PEM file of at most {FILE_BYTES_MAX} bytes")
    return data
