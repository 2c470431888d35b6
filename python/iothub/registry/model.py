"""Identities as values: what the database holds, what REST shows, and what a request may ask for."""

from __future__ import annotations

import base64
import binascii
import enum
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from edgehub.protocol.sas import KEY_BYTES_MAX, KEY_BYTES_MIN
from iothub.errors import ErrorCode, HubError, argument_invalid

if TYPE_CHECKING:
    from edgehub.common.json_types import Json

ID_CHARS_MAX: Final = 128
STATUS_REASON_CHARS_MAX: Final = 128
MANAGED_BY_CHARS_MAX: Final = 128
NEVER: Final = "0001-01-01T00:00:00"
SYSTEM_MODULES: Final = ("$edgeAgent", "$edgeHub")
MANAGED_BY_EDGE: Final = "IotEdge"
AUTH_TYPES: Final = ("sas", "selfSigned", "certificateAuthority", "none")
SCOPE_PREFIX: Final = "ms-azure-iot-edge://"
_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}", re.ASCII)
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", re.ASCII)
# .NET counts 100 ns ticks from year 1; generation ids look like that.
_TICKS_TO_EPOCH: Final = 621_355_968_000_000_000


class KeyChoice(enum.Enum):
    """Which keys a request for new ones means; the names are REST's."""

    PRIMARY = "primaryKey"
    SECONDARY = "secondaryKey"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Authentication:
    """Credentials of an identity.

    :ivar type: `sas`, `selfSigned`, `certificateAuthority` or `none`.
    """

    type: str
    primary_key: str | None = None
    secondary_key: str | None = None
    primary_thumbprint: str | None = None
    secondary_thumbprint: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that may sign tokens, primary first."""
        if self.type != "sas":
            return ()
        return tuple(key for key in (self.primary_key, self.secondary_key) if key)

    def with_new_keys(self, choice: KeyChoice) -> Authentication:
        """With one or both keys made anew.

        :raises HubError: 400003, there are no keys.
        """
        if self.type != "sas":
            raise HubError(ErrorCode.InvalidOperation, f"An identity of type {self.type} has no keys.")
        primary = self.primary_key if choice is KeyChoice.SECONDARY else new_key()
        secondary = self.secondary_key if choice is KeyChoice.PRIMARY else new_key()
        return replace(self, primary_key=primary, secondary_key=secondary)

    @property
    def thumbprints(self) -> tuple[str, ...]:
        """Thumbprints of certificates that prove the identity, primary first."""
        if self.type != "selfSigned":
            return ()
        return tuple(found for found in (self.primary_thumbprint, self.secondary_thumbprint) if found)

    def view(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "symmetricKey": {"primaryKey": self.primary_key, "secondaryKey": self.secondary_key},
            "x509Thumbprint": {
                "primaryThumbprint": self.primary_thumbprint,
                "secondaryThumbprint": self.secondary_thumbprint,
            },
            "type": self.type,
        }


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device.

    :ivar revision: number of the registry change that wrote it; its etag.
    :ivar device_scope: edge device: its own scope; leaf: its parent's, or None.
    :ivar parent_scope: scope of the parent edge, or None.
    """

    device_id: str
    generation_id: str
    revision: int
    authentication: Authentication
    status: str = "enabled"
    status_reason: str | None = None
    status_updated_ms: int | None = None
    iot_edge: bool = False
    device_scope: str | None = None
    parent_scope: str | None = None

    @property
    def etag(self) -> str:
        """Registry etag."""
        return revision_etag(self.revision)

    @property
    def enabled(self) -> bool:
        """Whether the device may connect."""
        return self.status == "enabled"

    def view(self, *, connected: bool, messages: int = 0) -> dict[str, Any]:
        """As REST shows it (section 1.7.4).

        :param messages: cloud-to-device messages that are not settled.
        """
        return {
            "deviceId": self.device_id,
            "generationId": self.generation_id,
            "etag": self.etag,
            "connectionState": "Connected" if connected else "Disconnected",
            "status": self.status,
            "statusReason": self.status_reason,
            "connectionStateUpdatedTime": NEVER,
            "statusUpdatedTime": iso_time(self.status_updated_ms),
            "lastActivityTime": NEVER,
            "cloudToDeviceMessageCount": messages,
            "authentication": self.authentication.view(),
            "capabilities": {"iotEdge": self.iot_edge},
            "deviceScope": self.device_scope,
            "parentScopes": [self.parent_scope] if self.parent_scope else [],
        }


@dataclass(frozen=True, slots=True)
class Module:
    """A registered module."""

    device_id: str
    module_id: str
    generation_id: str
    revision: int
    authentication: Authentication
    managed_by: str | None = None

    @property
    def etag(self) -> str:
        """Registry etag."""
        return revision_etag(self.revision)

    def view(self, *, connected: bool) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "moduleId": self.module_id,
            "managedBy": self.managed_by,
            "deviceId": self.device_id,
            "generationId": self.generation_id,
            "etag": self.etag,
            "connectionState": "Connected" if connected else "Disconnected",
            "connectionStateUpdatedTime": NEVER,
            "lastActivityTime": NEVER,
            "cloudToDeviceMessageCount": 0,
            "authentication": self.authentication.view(),
        }


def revision_etag(revision: int) -> str:
    """Etag of a registry entry: base64 of the decimal number, as IoT Hub's look."""
    return base64.b64encode(str(revision).encode()).decode()


def scope_of(device_id: str, generation_id: str) -> str:
    """Scope of an edge device."""
    return f"{SCOPE_PREFIX}{device_id}-{generation_id}"


def generation_ticks(now: float) -> int:
    """Ticks for a generation id made at this Unix time."""
    return _TICKS_TO_EPOCH + int(now * 10_000_000)


def iso_time(unix_ms: int | None) -> str:
    """UTC without zone, or the value for "never"."""
    if unix_ms is None:
        return NEVER
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    )


def check_id(value: str, what: str) -> str:
    """A device or module id.

    :raises HubError: 400004, with the characters that are allowed.
    """
    if not _ID.fullmatch(value):
        raise argument_invalid(
            f"{what} {value[:140]!r} must have 1 to {ID_CHARS_MAX} characters out of letters, digits "
            "and -:.+%_#*?!(),=@$'."
        )
    return value


def new_key() -> str:
    """A fresh symmetric key: 32 random bytes, base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _member(document: dict[str, Any], name: str, kind: type[Any], what: str) -> Json:
    value = document.get(name)
    if value is not None and not isinstance(value, kind):
        raise argument_invalid(f"{what}{name} must be of type {kind.__name__}.")
    return value


def _text(document: dict[str, Any], name: str, chars_max: int) -> str | None:
    value: str | None = _member(document, name, str, "")
    if value and (len(value) > chars_max or "\x00" in value):
        raise argument_invalid(f"{name} may have {chars_max} characters, none of them NUL.")
    return value


def _key(value: Json, what: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise argument_invalid(f"{what} must be text.")
    try:
        size = len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        raise argument_invalid(f"{what} is not base64.") from None
    if not KEY_BYTES_MIN <= size <= KEY_BYTES_MAX:
        raise argument_invalid(f"{what} must have {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, not {size}.")
    return value


def _sas(document: dict[str, Any]) -> Authentication:
    symmetric = _member(document, "symmetricKey", dict, "authentication.") or {}
    primary = _key(symmetric.get("primaryKey"), "primaryKey") or new_key()
    secondary = _key(symmetric.get("secondaryKey"), "secondaryKey") or new_key()
    if primary == secondary:
        raise argument_invalid("primaryKey and secondaryKey must differ.")
    return Authentication("sas", primary, secondary)


def _thumbprints(document: dict[str, Any]) -> Authentication:
    prints = _member(document, "x509Thumbprint", dict, "authentication.") or {}
    found: list[str | None] = []
    for name in ("primaryThumbprint", "secondaryThumbprint"):
        value = _member(prints, name, str, "x509Thumbprint.")
        if value and not _THUMBPRINT.fullmatch(value):
            raise argument_invalid(f"{name} must have 40 (SHA-1) or 64 (SHA-256) hexadecimal digits.")
        found.append(value.upper() if value else None)
    if not any(found):
        raise argument_invalid("selfSigned authentication needs at least one thumbprint.")
    return Authentication("selfSigned", primary_thumbprint=found[0], secondary_thumbprint=found[1])


def parse_authentication(document: dict[str, Any], default_type: str = "sas") -> Authentication:
    """Authentication of a request; missing keys are generated.

    :raises HubError: 400004.
    """
    found = _member(document, "authentication", dict, "") or {}
    kind = _member(found, "type", str, "authentication.") or default_type
    by_name = {name.lower(): name for name in AUTH_TYPES}
    canonical = by_name.get(kind.lower())
    if canonical is None:
        raise argument_invalid(f"authentication.type {kind!r} is not one of {', '.join(AUTH_TYPES)}.")
    if canonical == "sas":
        return _sas(found)
    return _thumbprints(found) if canonical == "selfSigned" else Authentication(canonical)


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What a PUT of a device asks for, checked as far as the request alone can be."""

    device_id: str
    authentication: Authentication
    status: str
    status_reason: str | None
    iot_edge: bool
    device_scope: str | None
    parent_scope: str | None


def parse_device(path_id: str, document: dict[str, Any]) -> DeviceRequest:
    """Reads the body of `PUT /devices/{d}`. Unknown members and `etag` are ignored.

    :raises HubError: 400004; 400028 for a malformed scope.
    """
    device_id = check_id(path_id, "deviceId")
    named = _member(document, "deviceId", str, "")
    if named is not None and named != device_id:
        raise argument_invalid(f"deviceId {named!r} in the body differs from {device_id!r} in the path.")
    status = (_member(document, "status", str, "") or "enabled").lower()
    if status not in ("enabled", "disabled"):
        raise argument_invalid("status must be enabled or disabled.")
    reason = _text(document, "statusReason", STATUS_REASON_CHARS_MAX)
    capabilities = _member(document, "capabilities", dict, "") or {}
    iot_edge = bool(_member(capabilities, "iotEdge", bool, "capabilities."))
    parents = _member(document, "parentScopes", list, "") or []
    if len(parents) > 1 or not all(isinstance(scope, str) for scope in parents):
        raise HubError(ErrorCode.InvalidDeviceScope, "parentScopes may hold one scope.")
    scope = _member(document, "deviceScope", str, "") or None
    parent = parents[0] if parents else None
    authentication = parse_authentication(document)
    return DeviceRequest(device_id, authentication, status, reason, iot_edge, scope, parent)


@dataclass(frozen=True, slots=True)
class ModuleRequest:
    """What a PUT of a module asks for."""

    device_id: str
    module_id: str
    authentication: Authentication
    managed_by: str | None


def parse_module(device_id: str, module_id: str, document: dict[str, Any]) -> ModuleRequest:
    """Reads the body of `PUT /devices/{d}/modules/{m}`.

    :raises HubError: 400004.
    """
    check_id(device_id, "deviceId")
    check_id(module_id, "moduleId")
    for name, wanted in (("deviceId", device_id), ("moduleId", module_id)):
        named = _member(document, name, str, "")
        if named is not None and named != wanted:
            raise argument_invalid(f"{name} {named!r} in the body differs from {wanted!r} in the path.")
    managed_by = _text(document, "managedBy", MANAGED_BY_CHARS_MAX)
    return ModuleRequest(device_id, module_id, parse_authentication(document), managed_by)


def check_match(if_match: str | None, etag: str) -> None:
    """Judges `If-Match` for an entry that exists. Quotes are optional (row 79).

    :raises HubError: 412001.
    """
    if if_match is None:
        return
    wanted = if_match.strip().strip('"')
    if wanted not in ("*", etag):
        raise HubError(
            ErrorCode.PreconditionFailed, f"If-Match {if_match} does not match the current etag {etag}."
        )
