"""What `config.toml` says, as plain values (agent spec 7.9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeagent.config.paths import MANAGEMENT_SOCKET
from edgeagent.image_gc.settings import GcSettings
from edgeagent.runtime.engine import DEFAULT_ADDRESS
from edgeagent.runtime.networks import NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeagent.model.module import RegistryCredentials

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The device's symmetric key, or the file with it.

    :ivar value: decoded, None when it is in a file.
    """

    value: bytes | None = field(default=None, repr=False)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Who this device is to its hub."""

    hub_hostname: str
    device_id: str
    key: DeviceKey


@dataclass(frozen=True, slots=True)
class AgentSection:
    """`[agent]`: the agent's own container and environment.

    :ivar image: blank when the agent runs outside of a container.
    """

    image: str = ""
    create_options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    image_pull_policy: str = "on-create"
    auth: RegistryCredentials | None = None
    env: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)


@dataclass(frozen=True, slots=True)
class EdgeCaFiles:
    """The operator's own CA, in PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class MaxRequests:
    """Connections at once of one socket."""

    management: int = 50
    workload: int = 10


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The whole file.

    :ivar hostname: blank: that of the system.
    :ivar provisioning: None: no hub, the deployment comes from a file.
    :ivar edge_ca: None: a CA is made here.
    :ivar watchdog_retries: None: without end.
    :ivar warnings: what has no effect, with its place.
    """

    hostname: str = ""
    parent_hostname: str = ""
    trust_bundle: Path | None = None
    allow_elevated: bool = True
    cloud_timeout_s: int = 70
    cloud_retries: int = 1
    provisioning: Provisioning | None = None
    agent: AgentSection = field(default_factory=AgentSection)
    edge_ca: EdgeCaFiles | None = None
    engine_address: str = DEFAULT_ADDRESS
    network: NetworkSettings = field(default_factory=NetworkSettings)
    management_socket: Path = MANAGEMENT_SOCKET
    image_gc: GcSettings = field(default_factory=GcSettings)
    watchdog_retries: int | None = None
    max_requests: MaxRequests = field(default_factory=MaxRequests)
    warnings: tuple[str, ...] = ()
