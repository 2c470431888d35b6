"""What `edgeagent run` is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.config.paths import HOME, MANAGEMENT_SOCKET
from edgeagent.config.settings import Settings
from edgeagent.image_gc.settings import GcSettings
from edgeagent.runtime.engine import DEFAULT_ADDRESS
from edgeagent.runtime.networks import NetworkSettings

if TYPE_CHECKING:
    from edgeagent.app.place import Place


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything that is known before the start.

    :param manifest: file with the deployment; None for the twin of `$edgeAgent`.
    :param trust_pem: roots in PEM that are trusted beside those of the system, when speaking to the hub.
    :param mqtt_port: of the upstream hub.
    :param https_port: of the upstream hub, also for MQTT over WebSocket.
    :param ca_certificate: the operator's own device CA; None for one that is made here.
    :param network: that modules join.
    :param management_socket: where `iotedge` finds this agent.
    :param management_max: connections to it at once.
    """

    place: Place
    home: Path = HOME
    engine: str = DEFAULT_ADDRESS
    manifest: Path | None = None
    trust_bundle: Path | None = None
    mqtt_port: int = 8883
    https_port: int = 443
    ca_certificate: Path | None = None
    ca_key: Path | None = None
    network: NetworkSettings = field(default_factory=NetworkSettings)
    garbage_collection: GcSettings = field(default_factory=GcSettings)
    allow_elevated: bool = True
    management_socket: Path = MANAGEMENT_SOCKET
    management_max: int = 50
    settings: Settings = field(default_factory=Settings)

    @property
    def state_folder(self) -> Path:
        """Of what the agent remembers."""
        chosen = self.settings.storage_folder
        return Path(chosen) / "edgeAgent" if chosen else self.home / "state"

    @property
    def trust_pem(self) -> str:
        """:raises OSError: the file cannot be read."""
        return self.trust_bundle.read_text() if self.trust_bundle else ""
