"""What a connection needs from the hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iothub.connections import ConnectionTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from iothub.auth import Authorizer
    from iothub.c2d.service import CloudToDevice
    from iothub.config import HubLimits
    from iothub.methods.service import Methods
    from iothub.telemetry.tail import Telemetry
    from iothub.twins.service import Twins


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
