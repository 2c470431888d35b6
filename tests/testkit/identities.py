"""Identities and tokens for tests."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from edgehub.common.ids import IdentityId
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.protocol.sas import build_token, device_audience

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from testkit.clock import ManualClock

HUB_HOST = "hub.example.test"
EDGE_ID = "edge1"
EDGE_SCOPE = "ms-azure-iot-edge://edge1-1"


def key_of(name: str, which: str = "primary") -> str:
    """A base64 key that belongs to a name."""
    return base64.b64encode(f"{which} key of {name}".ljust(32, ".").encode()[:32]).decode()


def keys_of(name: str) -> tuple[str, str]:
    return key_of(name), key_of(name, "secondary")


def sas_identity(text: str, *, enabled: bool = True, parent_scope: str = EDGE_SCOPE) -> ServiceIdentity:
    """A device or module with symmetric keys that belong to its id."""
    identity_id = IdentityId.parse(text)
    if identity_id.is_module:
        return ServiceIdentity(identity_id, keys=keys_of(text))
    return ServiceIdentity(
        identity_id,
        enabled=enabled,
        keys=keys_of(text),
        device_scope=parent_scope,
        parent_scopes=(parent_scope,),
    )


def edge_identity(
    device_id: str = EDGE_ID, scope: str = EDGE_SCOPE, parents: Sequence[str] = ()
) -> ServiceIdentity:
    return ServiceIdentity(
        IdentityId(device_id),
        auth_type=AuthType.SAS,
        keys=keys_of(device_id),
        is_edge=True,
        device_scope=scope,
        parent_scopes=tuple(parents),
    )


def token_for(
    identity: str,
    clock: ManualClock,
    *,
    signer: str | None = None,
    which: str = "primary",
    ttl_s: int = 3600,
    host: str = HUB_HOST,
    audience: str | None = None,
) -> str:
    """A token as an SDK makes it.

    :param signer: whose key signs, by default the identity's own.
    :param audience: identity the token names, by default the identity itself.
    """
    named = IdentityId.parse(audience or identity)
    resource = device_audience(host, named.device_id, named.module_id)
    return build_token(resource, int(clock.wall_s()) + ttl_s, key=key_of(signer or identity, which))


def username_for(identity: str, extra: str = "") -> str:
    return f"{HUB_HOST}/{identity}/?api-version=2021-04-12{extra}"


class FakeScopeApi:
    """A parent hub's scope, in memory."""

    def __init__(self, identities: Iterable[ServiceIdentity] = ()) -> None:
        self.identities = {item.id: item for item in identities}
        self.listed: list[str] = []
        self.asked: list[IdentityId] = []
        self.failure: Exception | None = None

    def put(self, *identities: ServiceIdentity) -> None:
        self.identities.update((item.id, item) for item in identities)

    def remove(self, text: str) -> None:
        del self.identities[IdentityId.parse(text)]

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        self.listed.append(";".join(edge_chain))
        if self.failure is not None:
            raise self.failure
        return list(self.identities.values())

    async def get_identity(
        self, identity_id: IdentityId, edge_chain: Sequence[str]
    ) -> Sequence[ServiceIdentity]:
        self.asked.append(identity_id)
        if self.failure is not None:
            raise self.failure
        if identity_id not in self.identities:
            return []
        return [item for key, item in self.identities.items() if key in (identity_id, identity_id.device)]
