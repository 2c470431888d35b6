"""What the MQTT endpoint needs from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from iothub.auth import Authorizer
    from iothub.c2d.service import CloudToDevice
    from iothub.config import HubLimits
    from iothub.connections import ConnectionTable
    from iothub.methods.service import Methods
    from iothub.registry.service import Registry
    from iothub.telemetry.tail import Telemetry
    from iothub.twins.service import Twins


@dataclass(frozen=True, slots=True)
class MqttServices:
    """Shared by all of its parts.

    :ivar hostname: name of the hub.
    :ivar clock: Unix time.
    :ivar connections: of all protocols.
    """

    hostname: str
    limits: HubLimits
    clock: Callable[[], float]
    authorizer: Authorizer
    registry: Registry
    telemetry: Telemetry
    twins: Twins
    methods: Methods
    c2d: CloudToDevice
    connections: ConnectionTable
