"""A device or module as the parent hub's scope describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId


class AuthType(Enum):
    """How an identity proves itself; values as in the scope API."""

    SAS = "sas"
    THUMBPRINT = "selfSigned"
    AUTHORITY = "certificateAuthority"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """One identity of the device scope. Equal values mean that nothing changed.

    :param keys: base64 symmetric keys, primary then secondary; empty without.
    :param thumbprints: of certificates, primary then secondary; empty without.
    :param device_scope: scope of this device; for an edge device the scope that its children name.
    :param parent_scopes: scopes of the parent, at most one is in use.
    """

    id: IdentityId
    generation_id: str = ""
    enabled: bool = True
    auth_type: AuthType = AuthType.SAS
    keys: tuple[str, ...] = field(default=(), repr=False)
    thumbprints: tuple[str, ...] = ()
    is_edge: bool = False
    device_scope: str = ""
    parent_scopes: tuple[str, ...] = ()
