"""Identities as the hub's registry has them. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from edgeagent.identity.errors import RegistryAnswerError
from edgeagent.model.module import EDGE_AGENT, SYSTEM_MODULES

MANAGED_BY: Final = "IotEdge"
AGENT_ID: Final = f"${EDGE_AGENT}"
SYSTEM_IDS: Final = tuple(f"${name}" for name in SYSTEM_MODULES)

DeriveKeys: TypeAlias = Callable[[str, str], Awaitable[tuple[str, str]]]
"""Primary and secondary key in base64, of a module id and its generation id (agent spec 7.3).

Whoever holds the master key may be another process; it fails with an `AgentError`."""


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """One identity.

    :ivar generation_id: given by the hub; another one means that the identity was made anew.
    :ivar keys: as far as the hub shows them.
    """

    module_id: str
    generation_id: str
    managed_by: str = ""
    keys: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def is_ours(self) -> bool:
        """Whether it may be deleted by us; the case makes no difference (row X02)."""
        return self.managed_by.lower() == MANAGED_BY.lower() and self.module_id not in SYSTEM_IDS


def read_identity(value: Any) -> ModuleIdentity:
    """One identity in JSON.

    :raises RegistryAnswerError: something else.
    """
    if not isinstance(value, Mapping):
        raise RegistryAnswerError("the hub's answer is not an identity")
    module_id, generation_id = value.get("moduleId"), value.get("generationId")
    if not isinstance(module_id, str) or not module_id:
        raise RegistryAnswerError("the hub gave an identity without moduleId")
    if not isinstance(generation_id, str) or not generation_id:
        raise RegistryAnswerError(f"the hub gave the identity {module_id} without generationId")
    managed_by = value.get("managedBy")
    return ModuleIdentity(
        module_id, generation_id, managed_by if isinstance(managed_by, str) else "", _keys(value)
    )


def read_identities(body: bytes) -> list[ModuleIdentity]:
    """A list of them.

    :raises RegistryAnswerError: something else.
    """
    value = read_json(body)
    if not isinstance(value, list):
        raise RegistryAnswerError("the hub's answer is not a list of identities")
    return [read_identity(item) for item in value]


def read_json(body: bytes) -> Any:
    """Any JSON.

    :raises RegistryAnswerError: none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise RegistryAnswerError(f"the hub's answer is not JSON: {fault}") from None


def identity_json(
    device_id: str, module_id: str, managed_by: str, keys: tuple[str, str] | None = None
) -> bytes:
    """The body that makes or changes an identity."""
    body: dict[str, Any] = {"deviceId": device_id, "moduleId": module_id}
    if managed_by:
        body["managedBy"] = managed_by
    if keys is not None:
        symmetric = {"primaryKey": keys[0], "secondaryKey": keys[1]}
        body["authentication"] = {"type": "sas", "symmetricKey": symmetric}
    return msgspec.json.encode(body)


def _keys(value: Mapping[str, Any]) -> tuple[str, str] | None:
    authentication = value.get("authentication")
    symmetric = authentication.get("symmetricKey") if isinstance(authentication, Mapping) else None
    if not isinstance(symmetric, Mapping):
        return None
    primary, secondary = symmetric.get("primaryKey"), symmetric.get("secondaryKey")
    return (primary, secondary) if isinstance(primary, str) and isinstance(secondary, str) else None
