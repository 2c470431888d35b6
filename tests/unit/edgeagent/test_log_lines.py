"""The form of log lines (row X23), which the log methods read again."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from edgeagent.log_lines import VERBOSE, LineFormatter, start_log
from edgeagent.methods.log_lines import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


@pytest.mark.parametrize(
    ("level", "severity", "name"),
    [
        (logging.CRITICAL, 0, "FTL"),
        (logging.ERROR, 3, "ERR"),
        (logging.WARNING, 4, "WRN"),
        (logging.INFO, 6, "INF"),
        (logging.DEBUG, 7, "DBG"),
        (VERBOSE, 7, "VRB"),
        (1, 7, "VRB"),
    ],
)
def test_x23_lines_are_read_again(level: int, severity: int, name: str) -> None:
    record = logging.LogRecord("x", level, "", 0, "slow %d", (5,), None)
    line = parse_line(LineFormatter().format(record), 1)
    assert (line.level, line.text) == (severity, f"[{name}] - slow 5")
    assert line.timestamp is not None


def test_nobody_forges_a_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\n<0> forged\x1b[2J", (), None)
    assert LineFormatter().format(record).endswith("[INF] - a\\n<0> forged\\x1b[2J")


def test_tracebacks_follow(root: logging.Logger) -> None:
    stream = io.StringIO()
    assert start_log("Debug", stream) == logging.DEBUG
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("y").exception("oh")
    assert "[ERR] - oh\nTraceback" in stream.getvalue()
