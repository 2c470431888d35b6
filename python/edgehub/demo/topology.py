"""What a stack consists of, and where it listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgehub.demo.ports import (
    AMQPS_PORT,
    HTTPS_PORT,
    MQTT_PORT,
    check_port,
    free_port,
    port_or_free,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

DEFAULT_ROUTES: Final = {"all": "FROM /messages/* INTO $upstream"}


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to start, and where. A port of 0 is any free one; addresses are loopback addresses.

    :param folder: existing folder for all data, which stays; None: a temporary folder, which is removed.
    :param hub_host: None: the first address of `edgehub.demo.ports.HUB_HOSTS` whose MQTT port is free and not
        claimed by another stack.
    :param iothub_mqtt_port: for devices that connect to iothub itself; None: iothub serves no MQTT.
    :param uplink_amqp_port: port of the relay, where the hub looks for iothub. None: 5671, or any free one if
        that cannot be listened on, as by a second stack, or by a user who is not root.
    :param uplink_https_port: as `uplink_amqp_port`, with 443.
    :param routes: routes of `$edgeHub`: text, or an object with priority.
    :param devices: leaf devices below the gateway, made before the hub starts.
    :param modules: modules of the gateway, made before the hub starts.
    :param hub_settings: environment of the hub, over what the stack sets.
    :param step: told of each step of the start.
    """

    folder: Path | None = None
    edge_device: str = "gateway"
    hub_host: str | None = None
    mqtt_port: int = MQTT_PORT
    metrics_port: int = 0
    iothub_host: str = "127.0.0.3"
    iothub_amqp_port: int = 0
    iothub_https_port: int = 0
    iothub_mqtt_port: int | None = None
    uplink_host: str = "127.0.0.4"
    uplink_amqp_port: int | None = None
    uplink_https_port: int | None = None
    routes: Mapping[str, str | Mapping[str, Any]] = field(default_factory=lambda: dict(DEFAULT_ROUTES))
    devices: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    hub_settings: Mapping[str, str] = field(default_factory=dict)
    step: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Places:
    """What was chosen; fixed, so that a server comes back to the same place after a restart."""

    hub_host: str
    mqtt_port: int
    metrics_port: int
    iothub_amqp_port: int
    iothub_https_port: int
    uplink_amqp_port: int
    uplink_https_port: int


def choose_places(options: StackOptions, hub_host: str) -> Places:
    """Chooses the ports that the options leave open.

    :raises PortError: a port is in use, or not allowed.
    """
    places = Places(
        hub_host,
        options.mqtt_port or free_port(hub_host),
        options.metrics_port or free_port(hub_host),
        options.iothub_amqp_port or free_port(options.iothub_host),
        options.iothub_https_port or free_port(options.iothub_host),
        _uplink_port(options, options.uplink_amqp_port, AMQPS_PORT),
        _uplink_port(options, options.uplink_https_port, HTTPS_PORT),
    )
    check_port(hub_host, places.mqtt_port)
    return places


def _uplink_port(options: StackOptions, wanted: int | None, usual: int) -> int:
    if wanted is None:
        return port_or_free(options.uplink_host, usual)
    port = wanted or free_port(options.uplink_host)
    check_port(options.uplink_host, port)
    return port
