"""Who is connected, whatever protocol they speak; the newest connection of an identity wins."""

from __future__ import annotations

from typing import Protocol

IdentityKey = tuple[str, str | None]
"""Device, and module or None."""


class IdentityOwner(Protocol):
    """A connection that serves identities, or all connections of one protocol that sorts out its own."""

    def evict(self, key: IdentityKey) -> None:
        """A newer connection has taken this identity over."""


class ConnectionTable:
    """Which connection serves which identity."""

    def __init__(self) -> None:
        self._owners: dict[IdentityKey, IdentityOwner] = {}

    def claim(self, key: IdentityKey, owner: IdentityOwner) -> None:
        """Gives an identity to a connection and evicts it from the one it had."""
        previous = self._owners.get(key)
        self._owners[key] = owner
        if previous is not None and previous is not owner:
            previous.evict(key)

    def release(self, key: IdentityKey, owner: IdentityOwner) -> None:
        """The connection no longer serves the identity."""
        if self._owners.get(key) is owner:
            del self._owners[key]

    def is_connected(self, device_id: str, module_id: str | None) -> bool:
        """Whether some connection serves this identity."""
        return (device_id, module_id) in self._owners

    def connected_devices(self) -> int:
        """Devices (not modules) that are connected."""
        return sum(module_id is None for _, module_id in self._owners)
