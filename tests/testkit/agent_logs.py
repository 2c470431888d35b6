"""Logs of modules in memory, as the methods of the agent read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.executor.ports import StepError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgeagent.methods.ports import LogWindow


@dataclass(slots=True)
class FakeLogs:
    """:ivar lines: by module: stream and text.
    :ivar asked: every window that was asked for.
    """

    lines: dict[str, list[tuple[int, str]]]
    asked: list[tuple[str, LogWindow]] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    fault: str = ""

    async def module_names(self) -> list[str]:
        return list(self.lines)

    async def log_lines(self, name: str, window: LogWindow) -> AsyncIterator[tuple[int, bytes]]:
        self.asked.append((name, window))
        found = self.lines[name] if window.tail is None else self.lines[name][-window.tail :]
        for stream, text in found:
            yield stream, text.encode()

    async def restart(self, name: str) -> None:
        if self.fault:
            raise StepError(self.fault)
        self.restarted.append(name)
