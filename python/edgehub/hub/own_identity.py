"""Who this hub is and where its parent is, from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId
from edgehub.config.load import SettingsError
from edgehub.identity.connection_string import ConnectionStringError, parse_connection_string

if TYPE_CHECKING:
    from edgehub.config.settings import IdentitySettings, UpstreamSettings


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """The module `$edgeHub` of this device.

    :param hub_host: host name of the IoT Hub, for tokens.
    :param upstream_host: host to connect to: the parent edge device, or the hub itself.
    :param edge_host: host name of this device, empty if unknown.
    :param key: own shared access key, None when the workload API signs or there is no parent.
    :param workload_uri: the workload API, None without an agent.
    """

    device_id: str
    hub_host: str
    upstream_host: str
    edge_host: str = ""
    generation_id: str = ""
    key: bytes | None = field(default=None, repr=False)
    workload_uri: str | None = None

    @property
    def id(self) -> IdentityId:
        return IdentityId(self.device_id, EDGE_HUB_MODULE_ID)

    @property
    def has_upstream(self) -> bool:
        """Whether the hub can prove itself to a parent."""
        return self.key is not None or self.workload_uri is not None

    @property
    def token_hosts(self) -> tuple[str, ...]:
        """Host names that a client's token may be for (I-002)."""
        return tuple(host for host in (self.hub_host, self.edge_host) if host)


def resolve_identity(settings: IdentitySettings, upstream: UpstreamSettings) -> HubIdentity:
    """Puts the settings together.

    :raises SettingsError: who the hub is, where routes come from or who may connect stays open.
    """
    identity = _from_connection_string(settings) if settings.connection_string else _from_variables(settings)
    if not identity.token_hosts:
        raise SettingsError(
            "set IOTEDGE_IOTHUBHOSTNAME or EDGEDEVICEHOSTNAME: tokens of clients are made for one of these"
        )
    if not identity.has_upstream:
        _check_standalone(upstream)
    return identity


def _from_connection_string(settings: IdentitySettings) -> HubIdentity:
    try:
        parts = parse_connection_string(settings.connection_string)
    except ConnectionStringError as error:
        raise SettingsError(f"IotHubConnectionString=(not shown): {error}") from None
    if parts.module_id != EDGE_HUB_MODULE_ID:
        raise SettingsError(
            f"IotHubConnectionString=(not shown): expected ModuleId={EDGE_HUB_MODULE_ID},"
            f" found {parts.module_id}"
        )
    gateway = parts.gateway_host or settings.gateway_host
    return HubIdentity(
        parts.device_id,
        parts.host,
        gateway or parts.host,
        settings.edge_host,
        settings.generation_id,
        parts.key,
    )


def _from_variables(settings: IdentitySettings) -> HubIdentity:
    if not settings.device_id:
        raise SettingsError(
            "set IotHubConnectionString, or IOTEDGE_DEVICEID and the other IOTEDGE_ variables"
        )
    if settings.module_id != EDGE_HUB_MODULE_ID:
        raise SettingsError(f"IOTEDGE_MODULEID={settings.module_id!r}: expected {EDGE_HUB_MODULE_ID!r}")
    if settings.workload_uri and not settings.hub_host:
        raise SettingsError("set IOTEDGE_IOTHUBHOSTNAME: the host name of the parent hub")
    return HubIdentity(
        settings.device_id,
        settings.hub_host,
        settings.gateway_host or settings.hub_host,
        settings.edge_host,
        settings.generation_id,
        workload_uri=settings.workload_uri or None,
    )


def _check_standalone(upstream: UpstreamSettings) -> None:
    if not upstream.routes_file and upstream.config_source != "local":
        raise SettingsError(
            "there is no parent hub (no IotHubConnectionString, no IOTEDGE_WORKLOADURI): "
            "set RoutesFile, or configSource=local"
        )
    if not upstream.identities_file:
        raise SettingsError(
            "there is no parent hub (no IotHubConnectionString, no IOTEDGE_WORKLOADURI): "
            "set IdentitiesFile, the devices and modules that may connect"
        )
