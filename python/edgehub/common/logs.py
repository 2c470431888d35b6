"""Log lines in the form that `iotedge logs` and the agent's log pull parse.

`<6> 2026-01-02 03:04:05.678 +00:00 [INF] - text`, one event per line, exception text on the lines
after it; at debug and verbose the logger's name follows the level (settings spec 7.1). Times are UTC.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from edgehub._core import LogEvent

VERBOSE = 5
"""Below `logging.DEBUG`, for `RuntimeLogLevel=verbose`."""

CORE = "edgehub.core"
"""Logger of the core's lines; each of its parts has one below."""

_LEVELS = {
    logging.CRITICAL: (0, "FTL"),
    logging.ERROR: (3, "ERR"),
    logging.WARNING: (4, "WRN"),
    logging.INFO: (6, "INF"),
    logging.DEBUG: (7, "DBG"),
    VERBOSE: (7, "VRB"),
}

_BY_NAME = {
    "verbose": VERBOSE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, 0x85, 0x2028, 0x2029)}


def level_from_name(text: str) -> int:
    """Level of a `RuntimeLogLevel`; text after the first comma is dropped, unknown names mean info."""
    return _BY_NAME.get(text.partition(",")[0].strip().lower(), logging.INFO)


class LineFormatter(logging.Formatter):
    """Formats records as described in the module text.

    Control characters of the message are escaped: names that clients choose must not forge lines.
    """

    def __init__(self, *, with_category: bool) -> None:
        super().__init__()
        self._with_category = with_category

    def format(self, record: logging.LogRecord) -> str:
        priority, name = _LEVELS.get(record.levelno, (6, "INF"))
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        category = f" [{record.name}]" if self._with_category else ""
        text = record.getMessage().translate(_CONTROL)
        line = f"<{priority}> {stamp}.{int(record.msecs):03d} +00:00 [{name}]{category} - {text}"
        if record.exc_info and record.exc_info[0] is not None:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def configure_logging(level_name: str, stream: IO[str] | None = None) -> None:
    """Sends everything of the process through one handler with one level for all categories."""
    level = level_from_name(level_name)
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(LineFormatter(with_category=level < logging.INFO))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries explain themselves at debug; their info lines are noise between ours.
    for noisy in ("aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))


def log_core_line(event: LogEvent) -> None:
    """Writes a line of the core to the log, under the name of the part that said it."""
    logging.getLogger(f"{CORE}.{event.source}").log(event.level, "%s", event.text)


def core_log_level() -> int:
    """The level below which the core need not tell anything."""
    return logging.getLogger(CORE).getEffectiveLevel()
