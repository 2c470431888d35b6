"""What the workload service is started with, and where its files are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.workload.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKET_PATH_BYTES_MAX = 107
"""Longest path that a unix socket is connected to by."""


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """Settings of the service.

    :param home: folder of everything on the device, such as `/var/lib/aziot/edged`.
    :param hub_host: host name of the hub, in identity certificates.
    :param ca_certificate: the operator's own CA in PEM, what vouches for it behind it; None: a CA is made.
    :param ca_key: its private key.
    :param trust_bundle: PEM file of certificates that modules trust beside the CA.
    :param manifest_trust_bundle: PEM file of certificates that may sign manifests.
    :raises ServiceError: they do not go together.
    """

    home: Path
    hub_host: str
    device_id: str
    ca_certificate: Path | None = None
    ca_key: Path | None = None
    trust_bundle: Path | None = None
    manifest_trust_bundle: Path | None = None

    def __post_init__(self) -> None:
        if not self.hub_host or not self.device_id:
            raise ServiceError("give the host name of the hub and the id of the device")
        if (self.ca_certificate is None) != (self.ca_key is None):
            raise ServiceError("give both the certificate and the key of the CA, or neither")
        if len(bytes(self.control_socket)) > SOCKET_PATH_BYTES_MAX:
            raise ServiceError(
                f"{self.control_socket}: longer than the {SOCKET_PATH_BYTES_MAX} bytes that a socket may have"
            )

    @property
    def control_socket(self) -> Path:
        return self.home / "workload-control.sock"

    @property
    def lock_file(self) -> Path:
        return self.home / "workload.lock"

    @property
    def keys_folder(self) -> Path:
        return self.home / "keys"

    @property
    def certificates_folder(self) -> Path:
        return self.home / "certs"

    @property
    def modules_folder(self) -> Path:
        """Has a folder for each module, which is mounted into its container."""
        return self.home / "mnt"

    @property
    def registry_file(self) -> Path:
        return self.home / "state" / "workload.json"

    @property
    def digest(self) -> str:
        """Differs when a running service has to be started anew to follow these settings."""
        return hashlib.sha256("\0".join(self.arguments()).encode()).hexdigest()

    def arguments(self) -> list[str]:
        """The command line that :func:`read_arguments` turns into these settings."""
        given: dict[str, str | Path | None] = {
            "--home": self.home,
            "--hub-host": self.hub_host,
            "--device-id": self.device_id,
            "--ca-certificate": self.ca_certificate,
            "--ca-key": self.ca_key,
            "--trust-bundle": self.trust_bundle,
            "--manifest-trust-bundle": self.manifest_trust_bundle,
        }
        return [f"{name}={_whole(value)}" for name, value in given.items() if value is not None]


def _whole(value: str | Path) -> str | Path:
    return value.absolute() if isinstance(value, Path) else value


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line.

    :param detached: started by an agent, which may therefore replace it.
    :param log_file: None: the log goes to standard error.
    """

    settings: WorkloadSettings
    detached: bool = False
    log_file: Path | None = None


def read_arguments(arguments: Sequence[str], program: str = "edgeagent workload") -> Invocation:
    """Reads a command line; ends the program with a usage text when it is wrong.

    :raises ServiceError: settings that do not go together.
    """
    import argparse  # noqa: PLC0415 - the agent needs the settings alone

    parser = argparse.ArgumentParser(
        program, description="Serves the workload API to modules: tokens, certificates, encryption."
    )
    parser.add_argument("--home", type=Path, required=True, help="folder of everything on this device")
    parser.add_argument("--hub-host", required=True, help="host name of the hub")
    parser.add_argument("--device-id", required=True)
    parser.add_argument("--ca-certificate", type=Path, help="PEM file of your own CA; default: one is made")
    parser.add_argument("--ca-key", type=Path, help="PEM file of its private key")
    parser.add_argument("--trust-bundle", type=Path, help="PEM file of what modules trust beside the CA")
    parser.add_argument("--manifest-trust-bundle", type=Path, help="PEM file of what may sign manifests")
    parser.add_argument("--log-file", type=Path, help="default: standard error")
    parser.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    detached, log_file = given.pop("detached"), given.pop("log_file")
    return Invocation(WorkloadSettings(**given), detached, log_file)
