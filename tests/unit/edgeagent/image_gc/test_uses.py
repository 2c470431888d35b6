"""The file of uses (row X13)."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.image_gc import uses as module
from edgeagent.image_gc.uses import FILE, ImageUses, format_uses, parse_uses
from testkit.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

START_S = 1_700_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=START_S)


async def test_x13_one_line_for_each_image_with_seconds(tmp_path: Path, clock: ManualClock) -> None:
    uses = ImageUses(tmp_path / "gc", clock.wall_s)
    await uses.record("sha256:aa")
    clock.advance(5.7)
    await uses.record("sha256:bb")
    await uses.record("sha256:aa")
    assert (tmp_path / "gc" / FILE).read_text() == "sha256:bb 1700000005\nsha256:aa 1700000005\n"
    assert await ImageUses(tmp_path / "gc").all() == {"sha256:bb": START_S + 5, "sha256:aa": START_S + 5}
    assert stat.S_IMODE((tmp_path / "gc").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "gc").iterdir()] == [FILE]


async def test_x13_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = ImageUses(tmp_path)
    await uses.record("a")
    before = (tmp_path / FILE).read_text()

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        await uses.record("b")
    assert (tmp_path / FILE).read_text() == before
    assert os.listdir(tmp_path) == [FILE]
    monkeypatch.undo()
    await uses.record("c")
    assert set(await ImageUses(tmp_path).all()) == {"a", "b", "c"}


async def test_a_missing_damaged_or_endless_file_costs_nothing_but_space(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ImageUses(tmp_path).all() == {}
    (tmp_path / FILE).write_bytes(b"a 5\n\xff\xfe\nb x\n\nc 7\n")
    assert await ImageUses(tmp_path).all() == {"a": 5, "c": 7}
    assert "2 damaged lines" in caplog.text
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 16)
    assert await ImageUses(tmp_path).all() == {"a": 5, "c": 7}
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 15)
    assert await ImageUses(tmp_path).all() == {}
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert await ImageUses(tmp_path).all() == {}
    assert "cannot read" in caplog.text


async def test_uses_without_end_are_forgotten_from_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USES_MAX", 2)
    uses = ImageUses(tmp_path)
    for image_id in ("a", "b", "a", "c"):
        await uses.record(image_id)
    assert list(await uses.all()) == ["a", "c"]


async def test_what_cannot_be_an_id_is_passed_over(tmp_path: Path) -> None:
    uses = ImageUses(tmp_path)
    for image_id in ("", "a b", "a\nb", "ü", "x" * 201):
        await uses.record(image_id)
    assert await uses.all() == {}


async def test_the_outcome_of_a_run(tmp_path: Path, clock: ManualClock) -> None:
    uses = ImageUses(tmp_path, clock.wall_s)
    for image_id in ("a", "b", "c"):
        await uses.record(image_id)
    clock.advance(10)
    await uses.record("b")
    await uses.settle({"a": START_S + 4, "b": START_S, "gone": 1}, ["c"])
    assert await ImageUses(tmp_path).all() == {"a": START_S + 4, "b": START_S + 10}


async def test_many_at_once(tmp_path: Path) -> None:
    uses = ImageUses(tmp_path)
    await asyncio.gather(*(uses.record(f"image{number}") for number in range(20)))
    assert len(await ImageUses(tmp_path).all()) == 20


@given(st.dictionaries(st.from_regex(r"[!-~]{1,20}", fullmatch=True), st.integers(0, 10**11), max_size=5))
def test_x13_what_is_written_is_read(uses: dict[str, int]) -> None:
    assert parse_uses(format_uses(uses)) == uses


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    parse_uses(text)
