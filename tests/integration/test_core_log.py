"""Log lines of the core reach Python with its events, however many there are."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING

from edgehub import _core
from testkit.wire import WAIT_S, WireClient

if TYPE_CHECKING:
    from collections.abc import Callable


def lines_of(engine: _core.Engine, enough: Callable[[list[_core.LogEvent]], bool]) -> list[_core.LogEvent]:
    """All lines until there are enough."""
    lines: list[_core.LogEvent] = []
    deadline = time.monotonic() + WAIT_S
    while not enough(lines):
        assert time.monotonic() < deadline, [line.text for line in lines]
        lines += [event for event in engine.next_events() if isinstance(event, _core.LogEvent)]
        time.sleep(0.01)
    return lines


def refuse_some(engine: _core.Engine, port: int, count: int) -> None:
    """One connection is open, all others are refused."""
    with WireClient(port) as first:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port), WAIT_S) as refused:
                assert refused.recv(1) == b""
        first.socket.getpeername()


def test_a_refused_connection_is_told_once_in_a_while() -> None:
    engine = _core.Engine(edge_device_id="edge1", connections_max=1, log_level=logging.WARNING)
    engine.start()
    _, port = engine.listen("127.0.0.1", 0)
    refuse_some(engine, port, 20)
    (line,) = lines_of(engine, lambda lines: len(lines) > 0)
    assert (line.level, line.source) == (logging.WARNING, "net")
    assert "too many are open: 1" in line.text
    assert not [event for event in engine.next_events() if isinstance(event, _core.LogEvent)]
    engine.stop(0)


def test_the_event_descriptor_tells_of_lines_and_the_level_holds_them_back() -> None:
    for level, told in ((logging.WARNING, True), (logging.ERROR, False)):
        engine = _core.Engine(edge_device_id="edge1", connections_max=1, log_level=level)
        engine.start()
        _, port = engine.listen("127.0.0.1", 0)
        refuse_some(engine, port, 1)
        lines = lines_of(engine, bool) if told else []
        engine.stop(0)
        lines += [event for event in engine.next_events() if isinstance(event, _core.LogEvent)]
        assert len(lines) == int(told)
