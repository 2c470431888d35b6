"""The play: devices send, the link is cut and comes back, everything settles, the books are closed."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgehub.demo.bookkeeping import Books
from edgehub.demo.errors import DemoError
from edgehub.demo.ids import ALERT_PROPERTY, MODULE, MODULE_INPUT, READINGS_OUTPUT, SUMMARY_OUTPUT
from edgehub.demo.iothub_api import ApiError
from edgehub.demo.latency import summarize
from edgehub.demo.ledger import build_ledger
from edgehub.demo.outage import Outage
from edgehub.demo.readings import SENSORS
from edgehub.demo.report import Outcome
from edgehub.demo.sending import CONNECTION_STRING_VARIABLE
from edgehub.demo.tracking import Link, Tracker, link_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.demo.options import Options
    from edgehub.demo.processes import Child
    from edgehub.demo.screen import Screen
    from edgehub.demo.stack import Stack

DEVICES: Final = tuple(SENSORS)
ROUTES: Final[dict[str, Any]] = {
    "readings": (
        "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId)"
        f' INTO BrokeredEndpoint("/modules/{MODULE}/inputs/{MODULE_INPUT}")'
    ),
    "alerts": (
        f"FROM /messages/modules/{MODULE}/outputs/{READINGS_OUTPUT}"
        f" WHERE {ALERT_PROPERTY} = 'true' INTO $upstream"
    ),
    "summaries": {
        "route": f"FROM /messages/modules/{MODULE}/outputs/{SUMMARY_OUTPUT} INTO $upstream",
        "priority": 0,
    },
}
STALL_S: Final = 20.0
"""Time without a further message after which the rest is taken as lost. The hub's first attempts to come back
after an outage are well within it."""
LINGER_S: Final = 0.5
"""Time in which a late duplicate or stray still gets into the books."""
CONNECT_S: Final = 30.0
FRAME_S: Final = 0.25
POLL_S: Final = 0.1


class Scenario:
    """One run on a stack that has started."""

    def __init__(self, options: Options, stack: Stack, screen: Screen) -> None:
        self._options = options
        self._stack = stack
        self._screen = screen
        self._folder = stack.folder / "journals"
        self._books = Books([self._journal(device) for device in DEVICES], self._journal(MODULE))
        self._tracker = Tracker(options.seconds)
        self._outage = Outage()
        self._phase = "starting"
        self._started_s = 0.0
        self._devices: list[Child] = []
        self._filter: Child | None = None

    async def run(self) -> Outcome:
        """Plays it.

        :raises ExceptionGroup: of `DemoError`, when a child ended, or the system did not start.
        """
        self._folder.mkdir(mode=0o700)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._stack.fault()),
                tasks.create_task(self._follow_telemetry()),
            ]
            await self._start_clients()
            background.append(tasks.create_task(self._watch()))
            await self._play()
            await self._settle()
            for task in background:
                task.cancel()
        return self._outcome()

    async def start_again(self) -> None:
        """Lets the filter and the devices run on, after the books are closed."""
        following = len(self._books.evidence.begun) + len(self._books.evidence.output_begun) + 1
        self._filter = await self._start_filter(Path("/dev/null"), following)
        for device in DEVICES:
            await self._start_device(device, Path("/dev/null"), following)

    # Clients

    async def _start_clients(self) -> None:
        self._screen.step(f"starting the module {MODULE} (azure-iot-device, MQTT)")
        self._filter = await self._start_filter(self._journal(MODULE), 1)
        await self._until_connected(1)
        self._screen.step(f"starting the devices {' and '.join(DEVICES)} (azure-iot-device, MQTT)")
        self._devices = [await self._start_device(device, self._journal(device), 1) for device in DEVICES]
        await self._until_connected(1 + len(DEVICES))

    async def _start_filter(self, journal: Path, first: int) -> Child:
        return await self._spawn(MODULE, "edgehub.demo.filter_module", journal, first)

    async def _start_device(self, device: str, journal: Path, first: int) -> Child:
        more = ("--sensor", device, "--rate", f"{self._options.rate:g}")
        return await self._spawn(device, "edgehub.demo.device", journal, first, *more)

    async def _spawn(self, identity: str, module: str, journal: Path, first: int, *more: str) -> Child:
        arguments = ("--journal", str(journal), "--authority", str(self._stack.authority.file))
        argv = [sys.executable, "-m", module, *arguments, "--first", str(first), *more]
        environment = {CONNECTION_STRING_VARIABLE: self._stack.connection_string(identity)}
        return await self._stack.spawn(identity, argv, environment)

    def _journal(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    # Timeline

    async def _play(self) -> None:
        options = self._options
        self._started_s = _now_s()
        self._phase = "messages flow"
        if options.outage_s:
            await self._sleep_until(options.outage_start_s)
            self._phase = "the link to iothub is cut; the hub stores"
            await self._stack.relay.cut()
            self._outage.begin(time.time() * 1000, self._tracker.upstream_lag)
            await self._sleep_until(options.outage_end_s)
            self._phase = "the link is back; the backlog drains"
            await self._stack.relay.restore()
            self._outage.end(_now_s())
        await self._sleep_until(options.seconds)

    async def _settle(self) -> None:
        """Ends the senders one after the other, each when it has nothing left to do."""
        self._phase = "the devices have stopped; the last messages arrive"
        await asyncio.gather(*(device.stop() for device in self._devices))
        await self._until_stalled(lambda: self._books.filter_is_done)
        assert self._filter is not None
        await self._filter.stop()
        self._books.poll()
        await self._until_stalled(lambda: self._books.missing == 0)
        await asyncio.sleep(LINGER_S)
        await self._look()

    async def _sleep_until(self, elapsed_s: float) -> None:
        await asyncio.sleep(max(0.0, self._started_s + elapsed_s - _now_s()))

    async def _until_connected(self, clients: int) -> None:
        deadline_s = _now_s() + CONNECT_S
        while self._books.connected < clients:
            if _now_s() > deadline_s:
                logs = self._stack.folder / "logs"
                raise DemoError(f"the clients did not connect within {CONNECT_S:.0f} s (logs: {logs})")
            await asyncio.sleep(POLL_S)
            self._books.poll()

    async def _until_stalled(self, done: Callable[[], bool]) -> None:
        """Waits until a condition holds, as long as messages still move."""
        progress, since_s = self._books.progress, _now_s()
        while not done():
            if self._books.progress != progress:
                progress, since_s = self._books.progress, _now_s()
            elif _now_s() - since_s > STALL_S:
                return
            await asyncio.sleep(POLL_S)
            self._books.poll()

    # Watching

    async def _follow_telemetry(self) -> None:
        """Reads iothub's log past the relay, so that the cut link does not blind the demo."""
        position = 1
        while True:
            try:
                async for event in self._stack.telemetry(position):
                    position = event.sequence + 1
                    self._tracker.observe_arrival(_now_s(), self._books.note_arrival(event))
            except ApiError:
                # If iothub is gone, `Stack.fault` says so; if only the stream broke, it goes on from there.
                await asyncio.sleep(POLL_S)

    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(FRAME_S)

    async def _look(self) -> None:
        """Takes everything in and shows it."""
        self._books.poll()
        sample = await self._stack.metrics()
        now_s = _now_s()
        if sample is not None:
            self._tracker.observe_sample(now_s, sample)
            self._outage.observe(now_s, time.time() * 1000, self._tracker.upstream_lag)
        frame = self._tracker.frame(
            now_s,
            elapsed_s=now_s - self._started_s if self._started_s else 0.0,
            phase=self._phase,
            link=self._link(),
            sent=len(self._books.evidence.acked),
        )
        self._screen.show(frame)

    def _link(self) -> Link:
        amqp = self._stack.relay.ports[0]
        return link_state(is_cut=self._stack.relay.is_cut, connections=amqp.connections)

    def _outcome(self) -> Outcome:
        latencies = self._books.latencies()
        steady = [latency_ms for begun_ms, latency_ms in latencies if self._outage.leaves_alone(begun_ms)]
        return Outcome(
            ledger=build_ledger(self._books.evidence),
            steady=summarize(steady),
            overall=summarize([latency_ms for _, latency_ms in latencies]),
            unrouted=self._tracker.unrouted,
            waiting=self._tracker.upstream_lag,
            outage_s=self._options.outage_s,
            peak_backlog=self._outage.peak,
            drained_s=self._outage.drained_s,
        )


def _now_s() -> float:
    return time.monotonic()
