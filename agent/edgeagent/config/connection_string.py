"""Connection strings of devices: `HostName=...;DeviceId=...;SharedAccessKey=...`. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

CHARS_MAX = 4096
_NAMES = ("HostName", "DeviceId", "SharedAccessKey", "GatewayHostName", "x509", "ModuleId")


@dataclass(frozen=True, slots=True)
class DeviceConnection:
    """Who this device is to its hub.

    :ivar key: shared access key, decoded.
    :ivar gateway: host name of a parent device, blank without.
    """

    hub_hostname: str
    device_id: str
    key: bytes = field(repr=False)
    gateway: str = ""


def parse_connection_string(text: str) -> DeviceConnection:
    """Reads one; no error shows a value.

    :raises ValueError: a part is missing or cannot be used; the text says which, and what would be right.
    """
    if len(text) > CHARS_MAX:
        raise ValueError(f"is longer than {CHARS_MAX} characters")
    parts = _parts(text)
    if "ModuleId" in parts:
        raise ValueError("is that of a module (it has ModuleId); expected that of an edge device")
    if parts.get("x509", "").lower() == "true":
        raise ValueError("asks for an X.509 certificate (x509=true); expected one with SharedAccessKey")
    for name in ("HostName", "DeviceId", "SharedAccessKey"):
        if not parts.get(name):
            raise ValueError(f"has no {name}; expected HostName=...;DeviceId=...;SharedAccessKey=...")
    key = decode_key(parts["SharedAccessKey"], "SharedAccessKey")
    return DeviceConnection(parts["HostName"], parts["DeviceId"], key, parts.get("GatewayHostName", ""))


def _parts(text: str) -> dict[str, str]:
    known = {name.lower(): name for name in _NAMES}
    parts: dict[str, str] = {}
    for number, part in enumerate((part for part in text.strip().split(";") if part.strip()), 1):
        name, separator, value = part.partition("=")
        found = known.get(name.strip().lower())
        if not separator or found is None:
            raise ValueError(f"part {number} is none of {', '.join(f'{name}=' for name in _NAMES[:4])}")
        if found in parts:
            raise ValueError(f"has {found} twice")
        parts[found] = value.strip()
    return parts


def decode_key(text: str, name: str) -> bytes:
    """A key in base64.

    :param name: what it is called in the error.
    :raises ValueError: it is not; the key is not shown.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(f"{name} is not base64; copy the whole key, with its = at the end")
    return key
