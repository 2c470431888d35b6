#!/usr/bin/env python3
"""What Python costs for each client: CPU time of a CONNECT and of the end of a connection, and idle memory.

The MQTT head runs with everything around it but the core, which only keeps the calls: real tokens, sessions
in SQLite, counters, log lines into a file. Run by `make bench-connects`; prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgehub.common.clock import SystemClock
from edgehub.common.logs import configure_logging
from edgehub.common.state import SqliteState
from edgehub.heads.observers import Observers
from edgehub.metrics.totals import HubTotals
from testkit.fake_core import ClosedEvent
from testkit.head_bench import HeadBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5
LEVELS = ("info", "warning")


@contextlib.contextmanager
def head(clients: int, folder: Path) -> Iterator[HeadBench]:
    """A head that knows so many devices."""
    state = SqliteState(folder / "state.db")
    names = [f"device{number}" for number in range(clients)]
    observers = Observers((HubTotals(SystemClock(), "hub.example.test"),))
    bench = HeadBench(names, clients_max=clients, state=state, observers=observers)
    try:
        yield bench
    finally:
        state.close()


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Microseconds of this thread for each of `count`."""
    begin = time.thread_time()
    work()
    return (time.thread_time() - begin) * 1e6 / count


def one_round(bench: HeadBench, clients: int) -> tuple[float, float]:
    """Microseconds for each CONNECT and for each end; the events are made before."""
    connects: list[Any] = [bench.connect_event(number, f"device{number}") for number in range(clients)]
    ends: list[Any] = [ClosedEvent(number, peer=f"10.0.0.1:{number}") for number in range(clients)]
    gc.collect()
    connect_us = cpu_us(lambda: run(bench, connects), clients)
    bench.core.calls.clear()
    end_us = cpu_us(lambda: run(bench, ends), clients)
    bench.core.calls.clear()
    return connect_us, end_us


def run(bench: HeadBench, events: list[Any]) -> None:
    """All events, in slices as the core gives them."""
    bench.core.push(*events)
    while bench.pump.pump():
        pass


def idle_bytes(bench: HeadBench, clients: int) -> float:
    """Python's memory for each connected client that sends nothing."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(clients):
        run(bench, [bench.connect_event(number, f"device{number}")])
        bench.core.calls.clear()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / clients


async def measure(clients: int) -> dict[str, Any]:
    """All figures, for two values of `RuntimeLogLevel`. The first CONNECT of a token costs the most."""
    result: dict[str, Any] = {"clients": clients}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        for level in LEVELS:
            configure_logging(level, log)
            with head(clients, Path(folder)) as bench:
                rounds = [one_round(bench, clients) for _ in range(ROUNDS)]
            result[level] = {
                "first_connect_us": round(rounds[0][0], 1),
                "connect_us": round(statistics.median(connect_us for connect_us, _ in rounds[1:]), 1),
                "end_us": round(statistics.median(end_us for _, end_us in rounds), 1),
            }
        with head(clients, Path(folder)) as bench:
            result["idle_bytes_per_client"] = round(idle_bytes(bench, clients))
    logging.getLogger().handlers.clear()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1500)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(asyncio.run(measure(options.clients)), indent=1) + "\n")


if __name__ == "__main__":
    main()
