"""The key-value state: durability, order, damage, limits."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from edgehub.common import state as state_module
from edgehub.common.state import MemoryState, SqliteState, StateError, StateStore, log_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def sqlite_state(path: Path) -> Iterator[SqliteState]:
    opened = SqliteState(path)
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[StateStore]:
    opened: StateStore = MemoryState() if request.param == "memory" else SqliteState(path)
    yield opened
    opened.close()


async def done(written: asyncio.Future[None] | None) -> None:
    if written is not None:
        await written


async def test_values_are_written_read_and_deleted(store: StateStore) -> None:
    await done(store.write([("b", "k1", b"1"), ("b", "k2", b"2"), ("other", "k1", b"3")]))
    assert (store.get("b", "k1"), store.get("b", "none"), store.get("none", "k1")) == (b"1", None, None)
    await done(store.write([("b", "k1", None), ("b", "k2", b"22"), ("b", "none", None)]))
    assert store.items("b") == [("k2", b"22")]
    assert store.items("other") == [("k1", b"3")]


async def test_reads_see_writes_that_are_not_on_disk_yet(store: StateStore) -> None:
    await done(store.write([("b", "old", b"0"), ("b", "gone", b"0")]))
    first = store.write([("b", "new", b"1"), ("b", "gone", None)])
    second = store.write([("b", "new", b"2")])
    assert store.get("b", "new") == b"2"
    assert store.get("b", "gone") is None
    assert store.items("b") == [("new", b"2"), ("old", b"0")]
    await done(first)
    await done(second)
    assert store.items("b") == [("new", b"2"), ("old", b"0")]


async def test_values_survive_a_restart(path: Path) -> None:
    first = SqliteState(path)
    await done(first.write([("b", "k", b"v")]))
    first.close()
    second = SqliteState(path)
    assert second.get("b", "k") == b"v"
    second.close()


async def test_close_finishes_what_was_written(path: Path) -> None:
    first = SqliteState(path)
    for number in range(200):
        first.write([("b", str(number), b"v")])
    first.close()
    first.close()
    second = SqliteState(path)
    assert len(second.items("b")) == 200
    second.close()


async def test_a_closed_state_refuses_writes(sqlite_state: SqliteState) -> None:
    sqlite_state.close()
    with pytest.raises(StateError, match="closed"):
        sqlite_state.write([("b", "k", b"v")])


def test_the_file_is_for_the_owner_alone(sqlite_state: SqliteState, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


async def test_every_commit_is_synced_in_full(sqlite_state: SqliteState) -> None:
    assert sqlite_state._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert sqlite_state._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "damage", [b"not a database at all, just text" * 100, b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_damaged_file_is_an_error(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(StateError, match=r"state\.db"):
        SqliteState(path)
    assert path.read_bytes() == damage


def test_a_newer_format_is_refused_unchanged(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="format 99"):
        SqliteState(path)
    assert path.read_bytes() == before


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot open"):
        SqliteState(tmp_path / "none" / "state.db")


async def test_writes_that_wait_share_a_commit(
    sqlite_state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, sizes = threading.Event(), list[int]()
    commit = sqlite_state._commit

    def slow(batch: list[state_module._Write]) -> str | None:
        gate.wait(10)
        sizes.append(len(batch))
        return commit(batch)

    monkeypatch.setattr(sqlite_state, "_commit", slow)
    writes = [sqlite_state.write([("b", str(number), b"v")]) for number in range(50)]
    gate.set()
    await asyncio.gather(*(write for write in writes if write is not None))
    assert sum(sizes) == 50
    assert len(sizes) <= 2
    assert len(sqlite_state.items("b")) == 50


async def test_a_failed_commit_fails_its_writes_and_no_later_ones(
    sqlite_state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done(sqlite_state.write([("b", "k", b"old")]))
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_state, "_commit", lambda batch: "disk full")
        failing = sqlite_state.write([("b", "k", b"new")])
        assert failing is not None
        with pytest.raises(StateError, match="disk full"):
            await failing
    assert sqlite_state.get("b", "k") == b"old"
    await done(sqlite_state.write([("b", "k", b"newer")]))
    assert sqlite_state.get("b", "k") == b"newer"


async def test_an_sqlite_error_becomes_a_state_error(sqlite_state: SqliteState) -> None:
    other = sqlite3.connect(sqlite_state._path)
    other.execute("DROP TABLE state")
    other.close()
    failing = sqlite_state.write([("b", "k", b"v")])
    assert failing is not None
    with pytest.raises(StateError, match="cannot write"):
        await failing
    with pytest.raises(StateError, match="cannot read"):
        sqlite_state.get("b", "k")


async def test_the_number_of_waiting_writes_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "PENDING_WRITES_MAX", 3)
    store = SqliteState(path)
    gate = threading.Event()
    commit = store._commit

    def held(batch: list[state_module._Write]) -> str | None:
        gate.wait(10)
        return commit(batch)

    monkeypatch.setattr(store, "_commit", held)
    # One write may already be in the hands of the held thread.
    accepted = [store.write([("b", str(number), b"v")]) for number in range(3)]
    with pytest.raises(StateError, match="3 writes wait"):
        accepted.extend(store.write([("b", str(number), b"v")]) for number in range(3, 1000))
    gate.set()
    await asyncio.gather(*(write for write in accepted if write is not None))
    assert len(store.items("b")) == len(accepted)
    store.close()


async def test_a_failure_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    log_failure(future, "The thing")
    log_failure(None, "Nothing")
    future.set_exception(StateError("disk full"))
    await asyncio.sleep(0)
    assert "The thing could not be stored: disk full" in caplog.text


def test_nothing_is_left_open(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        SqliteState(path).close()
    assert len(os.listdir("/proc/self/fd")) == before
