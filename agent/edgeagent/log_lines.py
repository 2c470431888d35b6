"""The agent's own log, in the form that its log methods read (agent spec 4, row X23).

`<6> 2026-01-02 03:04:05.678 +00:00 [INF] - text`; times are UTC.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import IO

VERBOSE = 5
"""Below `logging.DEBUG`."""

_FORMS = (
    (logging.CRITICAL, 0, "FTL"),
    (logging.ERROR, 3, "ERR"),
    (logging.WARNING, 4, "WRN"),
    (logging.INFO, 6, "INF"),
    (logging.DEBUG, 7, "DBG"),
    (VERBOSE, 7, "VRB"),
)
_LEVELS = {
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "information": logging.INFO,
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
}
LEVEL_NAMES = {
    logging.CRITICAL: "Fatal",
    logging.ERROR: "Error",
    logging.WARNING: "Warning",
    logging.INFO: "Information",
    logging.DEBUG: "Debug",
    VERBOSE: "Verbose",
}
"""As modules are told with `RuntimeLogLevel` (agent spec 3.4)."""

_NEWLINES = str.maketrans({"\n": "\\n", "\r": "\\r", "\x1b": "\\x1b"})
"""Names and texts of others must not forge lines."""


class LineFormatter(logging.Formatter):
    """One line for each record; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        severity, name = next(
            ((severity, name) for level, severity, name in _FORMS if record.levelno >= level), (7, "VRB")
        )
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        text = record.getMessage().translate(_NEWLINES)
        line = f"<{severity}> {moment}.{int(record.msecs):03d} +00:00 [{name}] - {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_log(level_name: str, stream: IO[str] | None = None) -> int:
    """Everything of the process goes to standard output in this form.

    :returns: the level in force.
    """
    level = _LEVELS.get(level_name.lower(), logging.INFO)
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    return level
