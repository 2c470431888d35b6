"""Server certificate and trust bundle from files, for runs without an agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgehub.config.load import SettingsError

if TYPE_CHECKING:
    from edgehub.config.settings import IdentitySettings

FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM texts of a certificate chain and its key."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)


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


def _read_pem(variable: str, name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{variable}={name}: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX or b"-----BEGIN " not in data:
        raise SettingsError(f"{variable}={name}: expected a PEM file of at most {FILE_BYTES_MAX} bytes")
    return data
