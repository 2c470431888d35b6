"""Scrape, keep, send: and nothing at all when it is not wanted (row X22)."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.link.errors import LinkDownError, LinkTimeoutError, RequestRefusedError
from edgeagent.metrics.agent_metrics import AgentMetrics, MetricsSettings
from edgeagent.metrics.server import MetricsServer
from edgeagent.quality import store as store_module
from edgeagent.quality.errors import ScrapeError
from edgeagent.quality.messages import MESSAGE_BYTES_MAX
from edgeagent.quality.retry import SPREAD
from edgeagent.quality.worker import HUB_ADDRESS, QualityParts, QualitySettings, QualityWorker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HUB_PAGE = b'edgehub_a{ms_telemetry="True"} 1\n'
OWN_PAGE = b'edgeAgent_b{ms_telemetry="True"} 2\nedgeAgent_secret{module_name="m"} 3\n'
START_MS = 1_700_000_000_000
HOUR_S = 3600.0


class World:
    """Everything around the worker; time goes on only as it sleeps.

    :ivar instant: sleeping takes no time.
    :ivar faults: what the next sends raise, None for one that goes well.
    """

    def __init__(self, state: Path, settings: QualitySettings | None = None) -> None:
        self.now_s = 0.0
        self.sent: list[tuple[bytes, Mapping[str, str]]] = []
        self.sent_s: list[float] = []
        self.faults: list[Exception | None] = []
        self.fetched: list[str] = []
        self.page: bytes | Exception = HUB_PAGE
        self.own = OWN_PAGE
        self.instant = False
        self.chance = 11.5 / 24
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []
        self.state = state
        parts = QualityParts(
            self.send, lambda: self.own, state, self.now_ms, self.fetch, self.sleep, lambda: self.chance
        )
        self.worker = QualityWorker(settings or QualitySettings(True), parts)
        self.counts = self.worker.counts

    def now_ms(self) -> int:
        return START_MS + int(self.now_s * 1000)

    async def send(self, body: bytes, properties: Mapping[str, str]) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        self.sent.append((body, properties))
        self.sent_s.append(self.now_s)

    async def fetch(self, address: str) -> bytes:
        self.fetched.append(address)
        if isinstance(self.page, Exception):
            raise self.page
        return self.page

    async def sleep(self, seconds: float) -> None:
        if self.instant:
            return
        woken = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now_s + seconds, woken))
        await woken

    async def pass_time(self, seconds: float) -> None:
        """Runs the worker for so long."""
        task = asyncio.create_task(self.worker.run())
        end_s = self.now_s + seconds
        try:
            while True:
                await self._quiet(task)
                due_s = min((at for at, _ in self._sleeping), default=end_s + 1)
                if task.done() or due_s > end_s:
                    return
                self.now_s = due_s
                self._wake()
        finally:
            self.now_s = end_s
            self._sleeping.clear()
            task.cancel()
            await asyncio.wait([task])

    def _wake(self) -> None:
        due = [(at, woken) for at, woken in self._sleeping if at <= self.now_s]
        self._sleeping = [entry for entry in self._sleeping if entry not in due]
        for _, woken in due:
            woken.set_result(None)

    async def _quiet(self, task: asyncio.Task[None]) -> None:
        """Until both parts of the worker sleep."""
        while not task.done() and len(self._sleeping) < 2:  # noqa: ASYNC110 - it may sleep or end
            await asyncio.sleep(0)

    def kept(self) -> int:
        folder = self.state / "quality"
        return len(list(folder.iterdir())) if folder.exists() else 0


def _series(message: bytes) -> dict[str, list[float]]:
    """Names and values of a message."""
    found, at = {}, 0
    while at < len(message):
        texts = []
        for _ in range(2):
            (length,) = struct.unpack_from("<i", message, at)
            texts.append(message[at + 4 : at + 4 + length].decode())
            at += 4 + length
        (count,) = struct.unpack_from("<i", message, at)
        rows = struct.unpack_from("<" + "qd" * count, message, at + 4)
        at += 4 + 16 * count
        found[texts[0]] = list(rows[1::2])
    return found


async def test_x22_nothing_runs_when_it_is_not_wanted(tmp_path: Path) -> None:
    world = World(tmp_path, QualitySettings(is_wanted=False))
    await world.pass_time(10 * 24 * HOUR_S)
    assert (world.fetched, world.sent, world.kept()) == ([], [], 0)
    assert not (tmp_path / "quality").exists()


async def test_x22_what_was_kept_goes_when_it_is_no_longer_wanted(tmp_path: Path) -> None:
    before = World(tmp_path)
    await before.worker.scrape()
    assert before.kept() == 1
    world = World(tmp_path, QualitySettings(is_wanted=False))
    await world.worker.run()
    assert (world.kept(), world.sent) == (0, [])


async def test_scraped_each_hour_and_sent_each_day_from_a_random_moment(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.pass_time(37 * HOUR_S)
    assert world.fetched == [HUB_ADDRESS] * 37
    assert world.sent_s == [11.5 * HOUR_S, 35.5 * HOUR_S]
    bodies = [_series(body) for body, _ in world.sent]
    assert bodies == [{"edgehub_a": [1, 1], "edgeAgent_b": [2, 2]}] * 2
    assert {properties["$.ct"] for _, properties in world.sent} == {
        "application/x-azureiot-edgeruntimediagnostics"
    }
    assert world.kept() == 2
    assert (world.counts.messages, world.counts.scrapes) == (2, 74)


async def test_a_page_that_cannot_be_read_does_not_keep_the_other(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.page = ScrapeError("http://edgeHub:9600/metrics: nobody there")
    await world.worker.scrape()
    world.page = b'm{a=b,ms_telemetry="True"} 1'
    await world.worker.scrape()
    await world.worker.upload()
    assert [_series(body) for body, _ in world.sent] == [{"edgeAgent_b": [2]}]
    assert (world.counts.scrapes, world.counts.scrapes_failed) == (2, 2)


async def test_nothing_to_keep_makes_no_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.page = world.own = b""
    await world.worker.scrape()
    await world.worker.upload()
    assert (world.kept(), world.sent) == (0, [])


async def test_it_goes_on_after_a_restart_of_the_agent(tmp_path: Path) -> None:
    await World(tmp_path).worker.scrape()
    world = World(tmp_path)
    await world.worker.upload()
    assert len(world.sent) == 1


@pytest.mark.parametrize("fault", [LinkTimeoutError("late"), LinkDownError("no connection")])
async def test_what_may_go_later_is_tried_again(tmp_path: Path, fault: Exception) -> None:
    world = World(tmp_path)
    world.faults = [fault] * 3
    await world.pass_time(13 * HOUR_S)
    low, high = SPREAD
    minutes = 5 + 5 + 5 + 4 * (low + (high - low) * world.chance)
    assert world.sent_s == [pytest.approx(11.5 * HOUR_S + 60 * minutes)]
    assert (world.counts.sends_failed, world.counts.given_up) == (3, 0)


async def test_after_twenty_tries_more_everything_kept_is_deleted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.faults = [LinkTimeoutError("late")] * 21
    await world.pass_time(12 * HOUR_S + 6 * 24 * HOUR_S)
    assert world.faults == []
    assert (world.sent, world.counts.given_up) == ([], 1)
    await world.pass_time(30 * HOUR_S)
    assert len(world.sent) >= 1


async def test_what_is_refused_is_deleted_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    await world.worker.scrape()
    world.faults = [RequestRefusedError("a message", 413)]
    await world.worker.upload()
    assert (world.kept(), world.sent, world.counts.given_up) == (0, [], 1)
    assert "1 scrapes for telemetry are deleted" in caplog.text


async def test_a_week_is_sent_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BATCH_SAMPLES_MAX", 10)
    world = World(tmp_path)
    for _ in range(12):
        await world.worker.scrape()
        world.now_s += HOUR_S
    await world.worker.upload()
    assert (len(world.sent), world.kept()) == (3, 0)


async def test_a_batch_that_was_begun_is_not_begun_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    labels = ",".join(f'l{number}="{"x" * 1000}"' for number in range(100))
    world.own = "".join(f'm{number}{{{labels},ms_telemetry="True"}} 1\n' for number in range(6)).encode()
    world.faults = [None, LinkTimeoutError("late")]
    world.chance = 0.05
    await world.pass_time(2 * HOUR_S)
    names = [name for body, _ in world.sent for name in _series(body)]
    assert sorted(names) == sorted({*names})
    assert len(names) == 7
    assert all(len(body) <= MESSAGE_BYTES_MAX for body, _ in world.sent)


async def test_a_value_too_long_for_a_message_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.own = f'm{{l="{"x" * MESSAGE_BYTES_MAX}",ms_telemetry="True"}} 1\n'.encode()
    await world.worker.scrape()
    await world.worker.upload()
    assert [_series(body) for body, _ in world.sent] == [{"edgehub_a": [1]}]
    assert world.counts.samples_dropped == 1
    assert world.counts.events()["samples_dropped"] == 1


async def test_a_disk_that_refuses_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    (tmp_path / "quality").write_text("a file")
    await world.worker._guarded(world.worker.scrape)
    await world.worker._guarded(world.worker.upload)
    assert world.counts.scrapes_lost == 1
    assert caplog.text.count("runtime-quality telemetry:") == 2
    (tmp_path / "quality").unlink()
    await world.pass_time(13 * HOUR_S)
    assert len(world.sent) == 1


async def test_a_fault_of_ours_ends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.page = RuntimeError("unforeseen")
    await world.pass_time(2 * HOUR_S)
    world.page = HUB_PAGE
    await world.pass_time(13 * HOUR_S)
    assert len(world.sent) == 1


FAULTS = st.sampled_from([None, None, None, LinkTimeoutError("late"), LinkDownError("gone"), ValueError()])


@settings(max_examples=30, deadline=None)
@given(st.lists(FAULTS, max_size=60), st.floats(0, 0.99), st.integers(0, 3))
async def test_every_scrape_is_sent_once_or_kept_or_counted(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Exception | None], chance: float, restarts: int
) -> None:
    """Whatever the hub does, and however often the agent is started again between two uploads."""
    folder, number, sent, lost = tmp_path_factory.mktemp("state"), 0, [], 0
    for _ in range(restarts + 1):
        world = World(folder)
        world.chance, world.faults, world.page = chance, list(faults), b""
        world.now_s = number * HOUR_S
        for _ in range(9):
            number += 1
            world.own = f'm{{ms_telemetry="True"}} {number}\n'.encode()
            world.now_s += HOUR_S
            await world.worker.scrape()
        world.instant = True
        await world.worker._guarded(world.worker.upload)
        sent += [value for body, _ in world.sent for value in _series(body)["m"]]
        lost += world.counts.given_up
    assert len(sent) == len(set(sent))
    if not lost:
        kept = World(folder)
        await kept.worker.upload()
        sent += [value for body, _ in kept.sent for value in _series(body)["m"]]
        assert sorted(sent) == list(range(1, number + 1))


async def test_x17_x22_from_one_port_to_the_hub(tmp_path: Path) -> None:
    """The page of a real port, over HTTP, as a message."""
    metrics = AgentMetrics(MetricsSettings("hub1.example.net", "device-one"))
    server = MetricsServer(metrics.healthz, metrics.render)
    port = await server.start("127.0.0.1", 0)
    sent: list[bytes] = []

    async def send(body: bytes, properties: Mapping[str, str]) -> None:
        sent.append(body)

    parts = QualityParts(send, lambda: b"", tmp_path, lambda: START_MS)
    worker = QualityWorker(QualitySettings(True, hub_address=f"http://127.0.0.1:{port}/metrics"), parts)
    try:
        await worker.scrape()
    finally:
        await server.stop()
    await worker.upload()
    (body,) = sent
    assert _series(body)["edgeAgent_iothub_syncs_total"] == [0]
    assert b"device-one" not in body
    assert b"hub1.example.net" not in body
    metrics.quality_events = worker.counts.events
    assert b'event="messages",ms_telemetry="False"} 1.0' in metrics.render()
