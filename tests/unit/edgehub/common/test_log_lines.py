"""The form of log lines (settings spec 7.1)."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

import pytest

from edgehub.common.logs import (
    VERBOSE,
    LineFormatter,
    configure_logging,
    core_log_level,
    level_from_name,
    log_core_line,
)
from testkit import fake_core

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = re.compile(
    r"<([0-7])> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \+00:00 \[([A-Z]{3})\]( \[[\w.]+\])? - (.*)"
)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], level = before
    logger.setLevel(level)


def record(level: int, text: str, *values: object) -> logging.LogRecord:
    made = logging.LogRecord("edgehub.x", level, "", 0, text, values, None)
    made.created, made.msecs = 1767323045.678, 678.9
    return made


@pytest.mark.parametrize(
    ("level", "priority", "name"),
    [
        (logging.CRITICAL, 0, "FTL"),
        (logging.ERROR, 3, "ERR"),
        (logging.WARNING, 4, "WRN"),
        (logging.INFO, 6, "INF"),
        (logging.DEBUG, 7, "DBG"),
        (VERBOSE, 7, "VRB"),
    ],
)
def test_levels(level: int, priority: int, name: str) -> None:
    line = LineFormatter(with_category=False).format(record(level, "a %s", "b"))
    assert line == f"<{priority}> 2026-01-02 03:04:05.678 +00:00 [{name}] - a b"


def test_category() -> None:
    line = LineFormatter(with_category=True).format(record(logging.DEBUG, "t"))
    assert line.endswith("[DBG] [edgehub.x] - t")


@pytest.mark.parametrize("evil", ["a\n<0> forged", "a\rb", "\x1b[31m", "a\u2028b", "\x00"])
def test_names_of_clients_cannot_forge_lines(evil: str) -> None:
    line = LineFormatter(with_category=False).format(record(logging.INFO, "client %s", evil))
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_exceptions_follow_on_their_own_lines() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        made = record(logging.ERROR, "failed")
        made.exc_info = (type(error), error, error.__traceback__)
    first, *rest = LineFormatter(with_category=False).format(made).splitlines()
    assert LINE.fullmatch(first)
    assert rest[-1] == "ValueError: why"


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("verbose", VERBOSE),
        ("DEBUG", logging.DEBUG),
        ("info", logging.INFO),
        ("Information", logging.INFO),
        ("warning", logging.WARNING),
        ("error", logging.ERROR),
        ("fatal", logging.CRITICAL),
        ("debug,other", logging.DEBUG),
        ("", logging.INFO),
        ("loud", logging.INFO),
    ],
)
def test_level_names(name: str, level: int) -> None:
    assert level_from_name(name) == level


def test_one_handler_for_everything(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("warning", stream)
    configure_logging("warning", stream)
    logging.getLogger("a.b").warning("one")
    logging.getLogger("a.b").info("two")
    (line,) = stream.getvalue().splitlines()
    matched = LINE.fullmatch(line)
    assert matched
    assert matched[3] is None
    assert len(root.handlers) == 1


def test_categories_are_shown_at_debug(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("debug", stream)
    logging.getLogger("a.b").info("one")
    assert "[INF] [a.b] - one" in stream.getvalue()


def test_lines_of_the_core_keep_their_level_and_name_their_part(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_core_line(fake_core.LogEvent(logging.WARNING, "net", "100 % of %s refused"))  # type: ignore[arg-type]
    log_core_line(fake_core.LogEvent(logging.DEBUG, "store", "not shown"))  # type: ignore[arg-type]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("edgehub.core.net", logging.WARNING)
    assert record.getMessage() == "100 % of %s refused"


def test_the_core_is_asked_for_no_more_than_is_shown() -> None:
    root = logging.getLogger()
    before = root.level
    try:
        root.setLevel(logging.ERROR)
        assert core_log_level() == logging.ERROR
        root.setLevel(VERBOSE)
        assert core_log_level() == VERBOSE
    finally:
        root.setLevel(before)
