"""A world for checks to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeagent.checks.ports import ProbeError, Route
from edgeagent.checks.situation import CheckOptions, Situation
from edgeagent.config.settings import load_settings
from edgeagent.config.toml_file import parse_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.checks.model import Finding, Result
    from edgeagent.errors import AgentError
    from edgeagent.runtime.engine import Engine

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "czNjcmV0LWtleQ=="
CONFIG = f"""
[provisioning]
connection_string = "HostName=hub.example.net;DeviceId=d;SharedAccessKey={KEY}"
"""
CONFIG_FILE = CheckOptions().config_file


@dataclass
class FakeProbes:
    """What is said of the device.

    :ivar files: content and time of change by path.
    :ivar faults: of probes by name.
    """

    files: dict[Path, tuple[bytes, float]] = field(default_factory=dict)
    faults: dict[str, AgentError] = field(default_factory=dict)
    name: str = "gw1"
    offset_s: float = 0.0
    info: dict[str, Any] = field(default_factory=lambda: {"version": "1.0"})
    calls: list[Any] = field(default_factory=list)

    def _asked(self, what: str, *given: Any) -> None:
        self.calls.append((what, *given))
        if what in self.faults:
            raise self.faults[what]

    def hostname(self) -> str:
        return self.name

    def read(self, path: Path) -> bytes | None:
        self._asked(f"read {path}")
        return self.files[path][0] if path in self.files else None

    def modified_s(self, path: Path) -> float | None:
        return self.files[path][1] if path in self.files else None

    async def resolve(self, host: str) -> list[str]:
        self._asked("resolve", host)
        return ["192.0.2.1"]

    async def tls(self, route: Route) -> None:
        self._asked("tls", route)

    async def clock_offset_s(self, server: str) -> float:
        self._asked("clock", server)
        return self.offset_s

    async def management(self, address: str) -> Mapping[str, Any]:
        self._asked("management", address)
        return self.info

    async def from_container(self, network: str, image: str, host: str, port: int | None) -> None:
        self._asked("container", network, image, host, port)

    def add(self, path: str | Path, content: bytes | str, time_s: float = 0.0) -> None:
        self.files[Path(path)] = (content.encode() if isinstance(content, str) else content, time_s)

    def fail(self, what: str, text: str = "it is broken") -> None:
        self.faults[what] = ProbeError(text)


def situation(
    probes: FakeProbes | None = None,
    config: str | None = CONFIG,
    engine: Engine | None = None,
    **options: Any,
) -> Situation:
    """A device with this configuration; None for one that could not be read."""
    found = Situation(CheckOptions(**options), probes or FakeProbes(), engine, NOW)
    if config is not None:
        found.config = parse_config(config.encode())
        found.settings = load_settings(found.config.agent.env)
    return found


def said(finding: Finding) -> tuple[Result, str]:
    """Result and all texts."""
    return finding.result, "\n".join([*finding.details, finding.reason])
