"""The time that the agent was away (agent spec 6.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.metrics.checkpoint import CHECKPOINT_FILE, DOWNTIME_S_MAX, PERIOD_S, Checkpoint, downtime_s
from edgeagent.metrics.ticks import ms_of_ticks, ticks

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_704_067_200_000


def test_ticks() -> None:
    assert ticks(NOW_MS) == 638_396_640_000_000_000
    assert ms_of_ticks(638_396_640_000_000_000) == NOW_MS


def test_time_since_the_last_checkpoint(tmp_path: Path) -> None:
    before = Checkpoint(tmp_path, lambda: NOW_MS)
    assert before.downtime_s() == 0
    before.write()
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == b"638396640000000000"
    assert Checkpoint(tmp_path, lambda: NOW_MS + 90_500).downtime_s() == 90.5


def test_after_a_clean_end_there_is_none(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, lambda: NOW_MS)
    checkpoint.write()
    checkpoint.remove()
    checkpoint.remove()
    checkpoint.write()
    assert Checkpoint(tmp_path, lambda: NOW_MS + 1000).downtime_s() == 0
    assert list((tmp_path / "availability").iterdir()) == []


@pytest.mark.parametrize("passed_s", [-5, DOWNTIME_S_MAX + 1])
def test_a_clock_that_jumped_is_no_time_away(passed_s: int) -> None:
    content = str(ticks(NOW_MS)).encode()
    assert downtime_s(content, NOW_MS + passed_s * 1000) == 0
    assert downtime_s(content, NOW_MS + DOWNTIME_S_MAX * 1000) == DOWNTIME_S_MAX


@given(st.binary(max_size=30) | st.from_regex(r"[0-9]{0,25}", fullmatch=True).map(str.encode))
def test_no_content_breaks_it(content: bytes) -> None:
    assert 0 <= downtime_s(content, NOW_MS) <= DOWNTIME_S_MAX


def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / CHECKPOINT_FILE).mkdir(parents=True)
    assert Checkpoint(tmp_path, lambda: NOW_MS).downtime_s() == 0
    assert "cannot be read" in caplog.text


async def test_it_is_written_every_five_minutes_and_a_full_disk_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_ms, pauses = [NOW_MS], [0.0]
    blocked = tmp_path / "availability"

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now_ms[0] += int(seconds * 1000)
        if len(pauses) == 2:
            assert (tmp_path / CHECKPOINT_FILE).exists()
            (tmp_path / CHECKPOINT_FILE).unlink()
            blocked.rmdir()
            blocked.write_bytes(b"")
        if len(pauses) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Checkpoint(tmp_path, lambda: now_ms[0]).run(sleep)
    assert pauses[1:] == [PERIOD_S] * 3
    assert "cannot be written" in caplog.text
