"""What the methods need of the container engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Which part of a log is read.

    :param since_s: UNIX seconds, None from the beginning.
    :param until_s: UNIX seconds, None to the end.
    :param tail: so many lines from the end, None for all.
    :param timestamps: the engine puts its own time before each line.
    """

    since_s: int | None = None
    until_s: int | None = None
    tail: int | None = None
    timestamps: bool = False


class ModuleLogs(Protocol):
    """Logs of modules."""

    async def module_names(self) -> list[str]:
        """All modules that have a container."""

    def log_lines(self, name: str, window: LogWindow) -> AsyncIterator[tuple[int, bytes]]:
        """Stream (1 for stdout, 2 for stderr) and bytes of each line, its end included."""


class ModuleControl(Protocol):
    """Restarts modules."""

    async def module_names(self) -> list[str]:
        """All modules that have a container."""

    async def restart(self, name: str) -> None:
        """Stops and starts a container, whatever is desired of it."""
