"""The JSON form of identities: answers of the scope API (IoT Hub spec 1.7.4) and the stored copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgehub.common.ids import IdentityId
from edgehub.errors import EdgehubError
from edgehub.identity.model import AuthType, ServiceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable

IDENTITIES_MAX = 100_000
"""Identities of one answer; a longer one is refused."""


class ScopeFormatError(EdgehubError):
    """An answer of the scope API, or an identities file, that cannot be read."""


class _Keys(msgspec.Struct, rename="camel"):
    primary_key: str | None = None
    secondary_key: str | None = None


class _Thumbprints(msgspec.Struct, rename="camel"):
    primary_thumbprint: str | None = None
    secondary_thumbprint: str | None = None


class _Authentication(msgspec.Struct, rename="camel"):
    type: str = "none"
    symmetric_key: _Keys | None = None
    x509_thumbprint: _Thumbprints | None = msgspec.field(default=None, name="x509Thumbprint")


class _Capabilities(msgspec.Struct, rename="camel"):
    iot_edge: bool = False


class _Device(msgspec.Struct, rename="camel"):
    device_id: str
    generation_id: str | None = None
    status: str = "enabled"
    authentication: _Authentication | None = None
    capabilities: _Capabilities | None = None
    device_scope: str | None = None
    parent_scopes: list[str] | None = None


class _Module(msgspec.Struct, rename="camel"):
    module_id: str
    device_id: str
    generation_id: str | None = None
    authentication: _Authentication | None = None


class _Page(msgspec.Struct, rename="camel"):
    devices: list[_Device] | None = None
    modules: list[_Module] | None = None
    continuation_link: str | None = None


class ScopePage(msgspec.Struct, frozen=True):
    """One answer of the scope API."""

    identities: tuple[ServiceIdentity, ...]
    continuation_link: str | None


_decoder = msgspec.json.Decoder(_Page)


def decode_scope_page(data: bytes) -> ScopePage:
    """Reads an answer of the scope API. Unknown keys are ignored.

    :raises ScopeFormatError: not JSON, or not of that shape; the text says where.
    """
    try:
        page = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ScopeFormatError(f"not an answer of the scope API: {error}") from None
    devices = [_device(item) for item in page.devices or ()]
    modules = [_module(item) for item in page.modules or ()]
    if len(devices) + len(modules) > IDENTITIES_MAX:
        raise ScopeFormatError(f"more than {IDENTITIES_MAX} identities in one answer")
    return ScopePage((*devices, *modules), page.continuation_link or None)


def encode_identity(identity: ServiceIdentity) -> bytes:
    """The stored form of one identity: a scope answer with one entry, so that one reader serves both."""
    kind = "modules" if identity.id.is_module else "devices"
    return msgspec.json.encode({kind: [_view(identity)]})


def encode_scope_page(identities: Iterable[ServiceIdentity]) -> bytes:
    """An answer of the scope API with all of these on one page (heads spec 3.3, H-015)."""
    return join_scope_page((identity, encode_item(identity)) for identity in identities)


def encode_item(identity: ServiceIdentity) -> bytes:
    """One identity, for `join_scope_page`."""
    return msgspec.json.encode(_view(identity))


def join_scope_page(items: Iterable[tuple[ServiceIdentity, bytes]]) -> bytes:
    """An answer of the scope API of identities that are encoded already."""
    devices: list[bytes] = []
    modules: list[bytes] = []
    for identity, item in items:
        (modules if identity.id.is_module else devices).append(item)
    shown = (b",".join(devices), b",".join(modules))
    return b'{"devices":[%b],"modules":[%b],"continuationLink":null}' % shown


def _view(identity: ServiceIdentity) -> dict[str, Any]:
    authentication = {
        "type": identity.auth_type.value,
        "symmetricKey": _pair(identity.keys, "Key"),
        "x509Thumbprint": _pair(identity.thumbprints, "Thumbprint"),
    }
    common = {
        "deviceId": identity.id.device_id,
        "generationId": identity.generation_id,
        "authentication": authentication,
    }
    if identity.id.module_id is not None:
        return common | {"moduleId": identity.id.module_id}
    return common | {
        "status": "enabled" if identity.enabled else "disabled",
        "capabilities": {"iotEdge": identity.is_edge},
        "deviceScope": identity.device_scope,
        "parentScopes": identity.parent_scopes,
    }


def _pair(values: tuple[str, ...], suffix: str) -> dict[str, str | None]:
    primary, secondary = (*values, None, None)[:2]
    return {f"primary{suffix}": primary, f"secondary{suffix}": secondary}


def _device(item: _Device) -> ServiceIdentity:
    auth_type, keys, thumbprints = _credentials(item.authentication)
    return ServiceIdentity(
        IdentityId(item.device_id),
        item.generation_id or "",
        item.status.casefold() == "enabled",
        auth_type,
        keys,
        thumbprints,
        item.capabilities is not None and item.capabilities.iot_edge,
        item.device_scope or "",
        tuple(item.parent_scopes or ()),
    )


def _module(item: _Module) -> ServiceIdentity:
    auth_type, keys, thumbprints = _credentials(item.authentication)
    identity_id = IdentityId(item.device_id, item.module_id)
    return ServiceIdentity(identity_id, item.generation_id or "", True, auth_type, keys, thumbprints)


def _credentials(item: _Authentication | None) -> tuple[AuthType, tuple[str, ...], tuple[str, ...]]:
    if item is None:
        return AuthType.NONE, (), ()
    keys, thumbprints = item.symmetric_key or _Keys(), item.x509_thumbprint or _Thumbprints()
    return (
        _auth_type(item.type),
        _present(keys.primary_key, keys.secondary_key),
        _present(thumbprints.primary_thumbprint, thumbprints.secondary_thumbprint),
    )


def _auth_type(text: str) -> AuthType:
    folded = text.casefold()
    return next((item for item in AuthType if item.value.casefold() == folded), AuthType.NONE)


def _present(*values: str | None) -> tuple[str, ...]:
    return tuple(value for value in values if value)
