"""Shared access policies: named keys of the service side and what they permit."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, insert, select

from iothub.registry.model import new_key
from iothub.registry.schema import policies


class Permission(enum.Flag):
    """What a policy may do."""

    REGISTRY_READ = enum.auto()
    REGISTRY_WRITE = enum.auto()
    SERVICE_CONNECT = enum.auto()
    DEVICE_CONNECT = enum.auto()


_NAMES: Final = {
    "RegistryRead": Permission.REGISTRY_READ,
    "RegistryWrite": Permission.REGISTRY_WRITE,
    "ServiceConnect": Permission.SERVICE_CONNECT,
    "DeviceConnect": Permission.DEVICE_CONNECT,
}
OWNER_POLICY: Final = "iothubowner"
DEFAULT_POLICIES: Final = {
    OWNER_POLICY: "RegistryRead,RegistryWrite,ServiceConnect,DeviceConnect",
    "service": "ServiceConnect",
    "device": "DeviceConnect",
    "registryRead": "RegistryRead",
    "registryReadWrite": "RegistryRead,RegistryWrite",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """One shared access policy."""

    name: str
    primary_key: str
    secondary_key: str
    permissions: Permission

    @property
    def keys(self) -> tuple[str, str]:
        """Keys that may sign, primary first."""
        return self.primary_key, self.secondary_key


def parse_permissions(text: str) -> Permission:
    """Permissions from their comma-separated names.

    :raises KeyError: an unknown name.
    """
    found = Permission(0)
    for name in text.split(","):
        found |= _NAMES[name]
    return found


def load_policies(engine: Engine) -> dict[str, Policy]:
    """All policies; the default ones are made with random keys on first use."""
    with engine.begin() as connection:
        rows = connection.execute(select(policies)).all()
        if not rows:
            fresh = [
                {
                    "name": name,
                    "primary_key": new_key(),
                    "secondary_key": new_key(),
                    "permissions": permissions,
                }
                for name, permissions in DEFAULT_POLICIES.items()
            ]
            connection.execute(insert(policies), fresh)
            rows = connection.execute(select(policies)).all()
    return {
        row.name: Policy(row.name, row.primary_key, row.secondary_key, parse_permissions(row.permissions))
        for row in rows
    }
