"""The log of one module as an answer or an upload carries it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from edgeagent.methods.errors import MethodError
from edgeagent.methods.log_lines import LogLine, parse_line, wanted
from edgeagent.methods.ports import LogWindow, ModuleLogs
from edgeagent.methods.times import parse_moment_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgeagent.methods.log_request import LogItem

READ_BYTES_MAX = 64 * 1024 * 1024
"""Of one module's log, before it is filtered; more is an error, not a cut."""


class LogReader:
    """Reads, filters and writes logs.

    :param hub: host name of the hub, as json lines carry it.
    :param now_s: UTC since 1970.
    """

    def __init__(self, logs: ModuleLogs, hub: str, device: str, now_s: Callable[[], float]) -> None:
        self._logs = logs
        self._hub, self._device = hub, device
        self._now_s = now_s

    async def module_names(self) -> list[str]:
        return await self._logs.module_names()

    async def read(self, name: str, item: LogItem, *, as_json: bool) -> bytes:
        """The wanted lines of a module, as text or as a JSON array.

        :raises MethodError: since or until cannot be read, or the log is too long.
        """
        window = self._window(item, timestamps=as_json)
        lines: list[LogLine] = []
        size = 0
        async for stream, content in self._logs.log_lines(name, window):
            size += len(content)
            if size > READ_BYTES_MAX:
                raise MethodError(
                    f"the log of {name} has more than {READ_BYTES_MAX} bytes; ask for less of it"
                )
            lines.append(parse_line(content.decode("utf-8", "replace"), stream))
        return self._written(name, wanted(lines, item.lines), as_json)

    def _window(self, item: LogItem, *, timestamps: bool) -> LogWindow:
        try:
            return LogWindow(
                None if item.since is None else parse_moment_s(item.since, self._now_s()),
                None if item.until is None else parse_moment_s(item.until, self._now_s()),
                item.lines.tail,
                timestamps,
            )
        except ValueError as fault:
            raise MethodError(str(fault)) from None

    def _written(self, name: str, lines: Iterable[LogLine], as_json: bool) -> bytes:
        if not as_json:
            return "".join(line.whole for line in lines).encode()
        return json.dumps([self._as_object(name, line) for line in lines], ensure_ascii=False).encode()

    def _as_object(self, name: str, line: LogLine) -> dict[str, Any]:
        return {
            "iothub": self._hub,
            "device": self._device,
            "id": name,
            "stream": line.stream,
            "loglevel": line.level,
            "text": line.text,
            "timestamp": line.timestamp,
        }


def compressed(content: bytes) -> bytes:
    """gzip, the same bytes for the same content."""
    return gzip.compress(content, mtime=0)
