"""Who this device is, and which hub it belongs to."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.config.connection_string import parse_connection_string
from edgeagent.config.toml_file import read_device_key
from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from edgeagent.config.toml_model import ConfigFile


class PlaceError(AgentError):
    """It cannot be told who this device is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Names of the device and of what is above it.

    :param device_hostname: under which modules and devices reach edgeHub on this device.
    :param parent_hostname: of the parent gateway, None unless nested.
    :param device_key: of the device, in base64; None without a hub.
    """

    hub_hostname: str
    device_id: str
    device_hostname: str
    parent_hostname: str | None = None
    device_key: str | None = field(default=None, repr=False)

    @property
    def has_hub(self) -> bool:
        return self.device_key is not None

    @property
    def upstream_host(self) -> str:
        """Where to connect to."""
        return self.parent_hostname or self.hub_hostname


def place_of(connection_string: str, device_hostname: str, config: ConfigFile) -> Place:
    """From a connection string of the device, else from the file, else from this machine's name.

    :param connection_string: blank for none.
    :param device_hostname: blank for that of the file, or the machine's.
    :raises PlaceError: the connection string cannot be used; its key is not in the text.
    :raises AgentError: the file with the device's key cannot be read.
    """
    hostname = device_hostname or config.hostname or socket.gethostname()
    parent = config.parent_hostname or None
    if connection_string.strip():
        try:
            found = parse_connection_string(connection_string)
        except ValueError as fault:
            raise PlaceError(f"the connection string {fault}") from None
        return _with_hub(found.hub_hostname, found.device_id, hostname, found.gateway or parent, found.key)
    known = config.provisioning
    if known is not None:
        return _with_hub(known.hub_hostname, known.device_id, hostname, parent, read_device_key(known.key))
    return Place(hostname, hostname, hostname, parent)


def _with_hub(hub: str, device_id: str, hostname: str, parent: str | None, key: bytes) -> Place:
    return Place(hub, device_id, hostname, parent, base64.b64encode(key).decode())
