"""Who this device is, and which hub it belongs to."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from edgeagent.errors import AgentError

AGENT_MODULE = "$edgeAgent"
_FIELDS = ("hostname", "deviceid", "moduleid", "sharedaccesskey", "gatewayhostname")


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


def place_of(connection_string: str, device_hostname: str) -> Place:
    """From the connection string of the device, or from this machine's name without one.

    :param device_hostname: blank for the machine's name.
    :raises PlaceError: what is wrong with the connection string; its key is not in the text.
    """
    hostname = device_hostname.strip() or socket.gethostname()
    if not connection_string.strip():
        return Place(hostname, hostname, hostname)
    fields = _fields(connection_string)
    for name in ("hostname", "deviceid", "sharedaccesskey"):
        if not fields.get(name):
            raise PlaceError(
                "the connection string must be of the device: HostName=...;DeviceId=...;SharedAccessKey=..."
            )
    if fields.get("moduleid"):
        raise PlaceError(
            f"the connection string is of the module {fields['moduleid']}; the agent needs that of its "
            "device, with which it makes the identities of its modules"
        )
    return Place(
        fields["hostname"],
        fields["deviceid"],
        hostname,
        fields.get("gatewayhostname"),
        fields["sharedaccesskey"],
    )


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        name, separator, value = part.partition("=")
        if not separator:
            raise PlaceError("the connection string has a part without =")
        found[name.strip().lower()] = value.strip()
    unknown = [name for name in found if name not in _FIELDS]
    if unknown:
        raise PlaceError(
            f"the connection string has {unknown[0]}, which is not known; known are {', '.join(_FIELDS)}"
        )
    return found
