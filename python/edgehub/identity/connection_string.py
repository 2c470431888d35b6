"""Connection strings: `HostName=...;DeviceId=...;ModuleId=...;SharedAccessKey=...[;GatewayHostName=...]`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from edgehub.errors import EdgehubError

_KNOWN = ("HostName", "DeviceId", "ModuleId", "SharedAccessKey", "GatewayHostName")


class ConnectionStringError(EdgehubError):
    """A connection string that cannot be used. The text never repeats the key."""


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The parts of a device or module connection string.

    :param key: the decoded shared access key.
    :param gateway_host: host to connect to instead of the hub, in a nested set-up.
    """

    host: str
    device_id: str
    module_id: str | None
    key: bytes = field(repr=False)
    gateway_host: str | None = None


def parse_connection_string(text: str) -> ConnectionString:
    """Reads a connection string; names of parts are case-insensitive, unknown ones are ignored.

    :raises ConnectionStringError: a part is malformed, given twice, or missing.
    """
    parts = _parts(text)
    for name in ("HostName", "DeviceId", "SharedAccessKey"):
        if not parts.get(name):
            raise ConnectionStringError(f"{name} is missing")
    return ConnectionString(
        parts["HostName"],
        parts["DeviceId"],
        parts.get("ModuleId") or None,
        decode_key(parts["SharedAccessKey"]),
        parts.get("GatewayHostName") or None,
    )


def decode_key(text: str) -> bytes:
    """The bytes of a base64 key.

    :raises ConnectionStringError: not base64, or empty.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConnectionStringError("SharedAccessKey is not base64")
    return key


def _parts(text: str) -> dict[str, str]:
    by_folded = {name.casefold(): name for name in _KNOWN}
    parts: dict[str, str] = {}
    for number, pair in enumerate(piece for piece in text.split(";") if piece.strip()):
        # Keys end in `=` padding, so only the first `=` separates.
        name, separator, value = pair.partition("=")
        if not separator:
            raise ConnectionStringError(f"part {number + 1} is not of the form name=value")
        known = by_folded.get(name.strip().casefold())
        if known is None:
            continue
        if known in parts:
            raise ConnectionStringError(f"{known} is given twice")
        parts[known] = value.strip()
    return parts
