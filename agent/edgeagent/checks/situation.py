"""What checks work with, and what they find out for those after them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeagent.config.paths import APPLIED_FILE, CONFIG_FILE, HOME
from edgeagent.config.settings import Settings
from edgeagent.config.toml_model import ConfigFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edgeagent.checks.ports import Probes
    from edgeagent.runtime.engine import Engine

DEFAULT_TIME_SERVER = "pool.ntp.org:123"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the operator may choose.

    :ivar config_file: `config.toml`.
    :ivar is_config_chosen: whether it was named, and so must be there.
    :ivar engine_file: settings of the container engine.
    :ivar hub_hostname: in place of the one that is configured.
    :ivar proxy: in place of the one that is configured.
    :ivar image: on the engine already, with `python3` or `nc`, to try connections from; blank for any.
    :ivar management: address of the agent's management API.
    """

    config_file: Path = CONFIG_FILE
    is_config_chosen: bool = False
    applied_file: Path = APPLIED_FILE
    home: Path = HOME
    engine_file: Path = Path("/etc/docker/daemon.json")
    hub_hostname: str = ""
    proxy: str = ""
    time_server: str = DEFAULT_TIME_SERVER
    image: str = ""
    expected_version: str = ""
    management: str = ""


@dataclass(slots=True)
class Situation:
    """Where the checks stand.

    :ivar config: None when it cannot be read; the defaults when there is no file.
    :ivar settings: of the agent's environment in it.
    :ivar engine_info: of `/info`; None as long as the engine did not answer.
    """

    options: CheckOptions
    probes: Probes
    engine: Engine | None
    now: datetime
    config: ConfigFile | None = None
    settings: Settings = field(default_factory=Settings)
    engine_info: Mapping[str, Any] | None = None
    containers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def upstream_host(self) -> str:
        """Where the device connects to; blank when nothing is configured."""
        config = self.config or ConfigFile()
        return self.options.hub_hostname or config.parent_hostname or self._hub_hostname

    @property
    def _hub_hostname(self) -> str:
        config = self.config
        return config.provisioning.hub_hostname if config is not None and config.provisioning else ""

    @property
    def proxy(self) -> str:
        return self.options.proxy or self.settings.https_proxy
