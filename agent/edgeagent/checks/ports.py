"""What checks ask of the world around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ProbeError(AgentError):
    """Something cannot be reached or read; the text says why."""


class ProbeMissing(AgentError):
    """There is nothing to try it with; the text says what would be needed."""


@dataclass(frozen=True, slots=True)
class Route:
    """A connection to be tried.

    :ivar trust_pem: roots that are trusted beside those of the system.
    :ivar proxy: `http://...`, blank for none.
    """

    host: str
    port: int
    trust_pem: str = ""
    proxy: str = ""


class Probes(Protocol):
    """Everything beyond the container engine. All raise :class:`ProbeError`."""

    def hostname(self) -> str:
        """Of the operating system."""

    def read(self, path: Path) -> bytes | None:
        """Content of a small file, None when there is none."""

    def modified_s(self, path: Path) -> float | None:
        """When a file was changed, UTC since 1970; None when there is none."""

    async def resolve(self, host: str) -> list[str]:
        """Addresses of a host."""

    async def tls(self, route: Route) -> None:
        """Connects, and checks the certificate of the other side."""

    async def clock_offset_s(self, server: str) -> float:
        """By how much the clock of this device is behind a time server."""

    async def management(self, address: str) -> Mapping[str, Any]:
        """What the agent says of itself (`GET /systeminfo`)."""

    async def from_container(self, network: str, image: str, host: str, port: int | None) -> None:
        """Resolves a host from a container, and connects to it where a port is given.

        :param network: the container's; blank for the engine's default one.
        :param image: on the engine already; blank for any of the modules.
        :raises ProbeMissing: there is no image to try it with.
        """
