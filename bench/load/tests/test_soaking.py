"""The parts of soak.py, without a hub."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
import sys
from typing import TYPE_CHECKING

import pytest
import soak
from soaking import verdict
from soaking.cpu import CpuMeter
from soaking.ledger import Account, Ledger, LedgerError, stamps
from soaking.running import Soak, SoakError
from soaking.slope import Slope, least_squares
from soaking.telemetry import Follower, GapError

from edgehub.protocol.amqp_batch import BATCH_FORMAT
from edgehub.protocol.amqp_message import encode_message

if TYPE_CHECKING:
    from pathlib import Path

BODY_BYTES = 256


def message(publisher: int, number: int, size: int = BODY_BYTES) -> bytes:
    """One encoded message of the generator."""
    return encode_message(data=struct.pack(">IQQ", publisher, number, 0).ljust(size, b"."))


def batch(*messages: bytes) -> bytes:
    """Messages in one transfer."""
    return b"".join(b"\x00\x53\x75\xb0" + len(one).to_bytes(4, "big") + one for one in messages)


class TestSlope:
    def test_a_line_is_found_exactly(self) -> None:
        slope = least_squares([(x, 3 + 2 * x) for x in range(10)])
        assert slope.value == pytest.approx(2)
        assert slope.error == pytest.approx(0, abs=1e-9)

    def test_scatter_is_told(self) -> None:
        slope = least_squares([(x, x + (-1) ** x) for x in range(100)])
        assert slope.value == pytest.approx(1, abs=3 * slope.error)
        assert 0.001 < slope.error < 0.01

    @pytest.mark.parametrize(("points", "told"), [([(1, 1)], "1 samples"), ([(1, 1)] * 3, "one time")])
    def test_too_little_is_an_error(self, points: list[tuple[float, float]], told: str) -> None:
        with pytest.raises(ValueError, match=told):
            least_squares(points)


class TestLedger:
    def test_everything_arrived(self) -> None:
        ledger = Ledger(2)
        for number in range(5):
            ledger.note(number % 2, number // 2)
        assert ledger.account(5) == Account(5, 5, 0, 0, [])

    def test_loss_is_told_by_publisher_and_number(self) -> None:
        ledger = Ledger(2)
        for number in (0, 2, 2):
            ledger.note(0, number)
        account = ledger.account(6)
        assert (account.arrived, account.duplicates, account.lost) == (2, 1, 4)
        assert account.first_lost == [(0, 1), (1, 0), (1, 1), (1, 2)]

    def test_more_than_was_sent_is_an_error(self) -> None:
        ledger = Ledger(1)
        ledger.note(0, 3)
        with pytest.raises(LedgerError, match="sent 3 messages; more came"):
            ledger.account(3)
        with pytest.raises(LedgerError, match="of publisher 1"):
            ledger.note(1, 0)


class TestStamps:
    def test_of_a_single_message_and_of_a_batch(self) -> None:
        assert list(stamps(message(3, 9), 0, BODY_BYTES)) == [(3, 9)]
        two = batch(message(1, 2), message(1, 3))
        assert list(stamps(two, BATCH_FORMAT, BODY_BYTES)) == [(1, 2), (1, 3)]

    def test_another_shape_is_decoded(self) -> None:
        assert list(stamps(message(3, 9, 40), 0, BODY_BYTES)) == [(3, 9)]

    def test_a_body_without_stamp_is_an_error(self) -> None:
        with pytest.raises(LedgerError, match="no stamp"):
            list(stamps(encode_message(data=b"short"), 0, BODY_BYTES))


class TestFollower:
    @pytest.fixture
    def log(self, tmp_path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE chunks(first_sequence INTEGER PRIMARY KEY, count, message_format, payload)"
        )
        return connection

    def test_what_is_new_is_noted_once(self, log: sqlite3.Connection, tmp_path: Path) -> None:
        ledger = Ledger(1)
        follower = Follower(tmp_path / "telemetry.db", ledger, BODY_BYTES)
        assert follower.read() == 0
        log.execute(
            "INSERT INTO chunks VALUES(1, 2, ?, ?)", (BATCH_FORMAT, batch(message(0, 0), message(0, 1)))
        )
        assert (follower.read(), follower.read()) == (2, 0)
        log.execute("INSERT INTO chunks VALUES(3, 1, 0, ?)", (message(0, 2),))
        assert (follower.read(), ledger.arrived) == (1, 3)
        follower.close()

    def test_dropped_events_are_an_error(self, log: sqlite3.Connection, tmp_path: Path) -> None:
        follower = Follower(tmp_path / "telemetry.db", Ledger(1), BODY_BYTES)
        log.execute("INSERT INTO chunks VALUES(5, 1, 0, ?)", (message(0, 4),))
        with pytest.raises(GapError, match="goes on at 5; 1 was expected"):
            follower.read()
        follower.close()


class TestVerdict:
    def samples(self, kib_per_s: float) -> list[verdict.Sample]:
        return [verdict.Sample(at, int(50_000 + kib_per_s * at), 0, True) for at in range(600)]

    def test_the_warm_up_and_what_comes_after_the_load_do_not_count(self) -> None:
        early = [verdict.Sample(at, 10_000 + 500 * at, 0, True) for at in range(120)]
        late = [verdict.Sample(at, 90_000, 0, True) for at in range(600, 620)]
        slope = verdict.memory_slope([*early, *self.samples(0)[120:], *late], 120, 599)
        assert (slope.value, slope.points) == (0, 480)

    def test_growth_is_in_mb_per_hour(self) -> None:
        slope = verdict.memory_slope(self.samples(1000 / 1024), 0, 600)
        assert slope.value == pytest.approx(3.6, rel=0.01)
        assert verdict.slope_verdict(slope) == "not"

    @pytest.mark.parametrize(
        ("value", "error", "told"),
        [(0.5, 0.1, "ok"), (0.9, 0.1, "unsure"), (1.1, 0.2, "unsure"), (2, 0.1, "not")],
    )
    def test_what_cannot_be_told_from_the_bar_is_unsure(self, value: float, error: float, told: str) -> None:
        assert verdict.slope_verdict(Slope(value, error, 100)) == told

    def test_one_lost_message_is_too_many(self) -> None:
        bars = verdict.bars_json(Slope(0, 0, 3), Account(5, 4, 0, 1, [(0, 1)]))
        assert [bar["verdict"] for bar in bars] == ["ok", "not"]


class TestCommand:
    def options(self, *more: str) -> object:
        return soak.checked_options(["--generator", sys.executable, *more])

    @pytest.mark.parametrize(
        ("arguments", "seconds", "warm_up_s", "rate"),
        [
            ([], 600, 120, 5000),
            (["--hours", "1"], 3600, 600, 5000),
            (["--minutes", "1", "--warm-up-s", "5", "--rate", "7"], 60, 5, 7),
            (["--probe"], soak.PROBE_S, soak.PROBE_WARM_UP_S, soak.PROBE_RATE_PER_S),
        ],
    )
    def test_lengths(self, arguments: list[str], seconds: float, warm_up_s: float, rate: int) -> None:
        options = vars(self.options(*arguments))
        assert (options["seconds"], options["warm_up_s"], options["rate"]) == (seconds, warm_up_s, rate)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--minutes", "1"], "no time after a warm-up"),
            (["--cut-for-s", "60"], "must be shorter"),
            (["--publishers", "0"], "at least 1"),
            (["--generator", "/none"], "cargo build"),
        ],
    )
    def test_wrong_options(self, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            self.options(*arguments)
        assert told in capsys.readouterr().err

    def test_shares_of_a_core(self) -> None:
        meter = CpuMeter({"this": os.getpid()})
        assert meter.shares()["this"] >= 0


class TestRunning:
    async def start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)

    async def test_what_the_generator_says_is_kept(self) -> None:
        process = await self.start("sh", "-c", "echo refused >&2")
        beside = asyncio.create_task(asyncio.Event().wait())
        assert await Soak._until_ended(process, beside) == b"refused\n"  # type: ignore[arg-type]
        beside.cancel()

    async def test_a_task_that_fails_ends_the_run(self) -> None:
        async def fail() -> None:
            raise SoakError("the port is in use")

        process = await self.start("sleep", "60")
        with pytest.raises(SoakError, match="the port is in use"):
            await Soak._until_ended(process, asyncio.create_task(fail()))
        process.kill()
        await process.wait()
