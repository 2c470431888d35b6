"""What a connection needs from the hub, and the table of who is connected where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from iothub.auth import Authorizer
    from iothub.c2d.service import CloudToDevice
    from iothub.config import HubLimits
    from iothub.methods.service import Methods
    from iothub.telemetry.tail import Telemetry
    from iothub.twins.service import Twins

IdentityKey = tuple[str, str | None]


class IdentityOwner(Protocol):
    """A connection that serves identities."""

    def evict(self, key: IdentityKey) -> None:
        """A newer connection has taken this identity over."""


class ConnectionTable:
    """Which connection serves which identity; the newest one wins."""

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


@dataclass
class HubStats:
    """Totals since start, for logs and the status operation."""

    connections: int = 0
    events_accepted: int = 0
    transfers_rejected: int = 0
    connections_failed: int = 0


@dataclass
class AmqpServices:
    """Shared by all connections.

    :ivar clock: Unix time.
    :ivar hub_name: first label of the host name, for SASL PLAIN names.
    """

    container_id: str
    hub_name: str
    limits: HubLimits
    clock: Callable[[], float]
    authorizer: Authorizer
    telemetry: Telemetry
    twins: Twins
    methods: Methods
    c2d: CloudToDevice
    connections: ConnectionTable = field(default_factory=ConnectionTable)
    stats: HubStats = field(default_factory=HubStats)
