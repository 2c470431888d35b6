"""Scrapes on disk: whole, bounded, and gone when they are too old."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.quality import store as module
from edgeagent.quality.counts import QualityCounts
from edgeagent.quality.samples import Sample
from edgeagent.quality.store import QualityStore
from edgeagent.state.files import StateFileError

if TYPE_CHECKING:
    from pathlib import Path

AGE_S = 1000
NOW_MS = 1_700_000_000_000


def _scrape(at_ms: int, count: int = 1) -> list[Sample]:
    return [Sample(f"m{number}", (("a", "b"), ("c", "ü")), number / 2, at_ms) for number in range(count)]


def _store(folder: Path) -> tuple[QualityStore, QualityCounts]:
    counts = QualityCounts()
    return QualityStore(folder / "quality", AGE_S, counts), counts


def _taken(store: QualityStore) -> list[Sample]:
    return list(store.samples(store.batch(NOW_MS)))


def test_what_was_kept_comes_back_oldest_first(tmp_path: Path) -> None:
    store, counts = _store(tmp_path)
    assert store.batch(NOW_MS) == []
    for at_ms in (NOW_MS - 1, NOW_MS, NOW_MS - 2):
        store.add(_scrape(at_ms, 2), at_ms)
    again, _ = _store(tmp_path)
    assert _taken(again) == [sample for at in (2, 1, 0) for sample in _scrape(NOW_MS - at, 2)]
    store.remove(store.batch(NOW_MS))
    assert store.batch(NOW_MS) == []
    assert counts.scrapes_lost == 0


def test_files_are_private(tmp_path: Path) -> None:
    store, _ = _store(tmp_path)
    store.add(_scrape(1), 1)
    (entry,) = (tmp_path / "quality").iterdir()
    assert entry.name == "000000000000001-1.scrape"
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    store, counts = _store(tmp_path)
    for at_ms in (NOW_MS - AGE_S * 1000 - 1, NOW_MS - AGE_S * 1000):
        store.add(_scrape(at_ms), at_ms)
    assert [sample.at_ms for sample in _taken(store)] == [NOW_MS - AGE_S * 1000]
    assert counts.scrapes_lost == 1
    assert len(list((tmp_path / "quality").iterdir())) == 1


def test_batches_are_bounded_but_a_scrape_is_never_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SAMPLES_MAX", 5)
    store, _ = _store(tmp_path)
    for at_ms, count in ((1, 9), (2, 2), (3, 3), (4, 1)):
        store.add(_scrape(NOW_MS + at_ms, count), NOW_MS + at_ms)
    sizes = []
    while entries := store.batch(NOW_MS):
        sizes.append(len(list(store.samples(entries))))
        store.remove(entries)
    assert sizes == [9, 5, 1]


def test_the_oldest_give_way_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 3)
    store, counts = _store(tmp_path)
    for at_ms in range(5):
        store.add(_scrape(NOW_MS + at_ms), NOW_MS + at_ms)
    assert [sample.at_ms - NOW_MS for sample in _taken(store)] == [2, 3, 4]
    assert counts.scrapes_lost == 2


def test_the_oldest_give_way_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, counts = _store(tmp_path)
    store.add(_scrape(1), 1)
    size = next((tmp_path / "quality").iterdir()).stat().st_size
    monkeypatch.setattr(module, "STORE_BYTES_MAX", 2 * size)
    store.add(_scrape(2), 2)
    assert counts.scrapes_lost == 0
    store.add(_scrape(3), 3)
    assert counts.scrapes_lost == 1
    assert sorted(entry.stem for entry in (tmp_path / "quality").iterdir()) == [f"{n:015d}-1" for n in (2, 3)]


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_damaged_file_is_deleted_and_the_rest_is_read(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    store, counts = _store(tmp_path)
    store.add(_scrape(NOW_MS, 3), NOW_MS)
    (entry,) = (tmp_path / "quality").iterdir()
    entry.write_bytes(entry.read_bytes()[:cut])
    store.add(_scrape(NOW_MS + 1), NOW_MS + 1)
    assert [sample.at_ms for sample in _taken(store)] == [NOW_MS + 1]
    assert counts.scrapes_lost == 1
    assert not entry.exists()
    assert "cannot be read" in caplog.text


@given(st.binary(max_size=200))
def test_no_content_breaks_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any") / "quality"
    folder.mkdir()
    (folder / f"{NOW_MS:015d}-1.scrape").write_bytes(content)
    assert _taken(QualityStore(folder, AGE_S, QualityCounts())) == []


def test_clear_deletes_ours_only(tmp_path: Path) -> None:
    store, _ = _store(tmp_path)
    assert store.clear() == 0
    store.add(_scrape(1), 1)
    other = tmp_path / "quality/other.txt"
    other.write_text("x")
    assert store.clear() == 1
    assert list((tmp_path / "quality").iterdir()) == [other]


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "quality").write_text("a file")
    store, _ = _store(tmp_path)
    with pytest.raises(StateFileError, match="quality"):
        store.add(_scrape(1), 1)
    with pytest.raises(StateFileError, match="quality cannot be read"):
        store.batch(1)
    with pytest.raises(StateFileError, match="quality cannot be read"):
        store.clear()


def test_an_interrupted_write_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    store, _ = _store(tmp_path)
    store.add(_scrape(NOW_MS), NOW_MS)
    (entry,) = (tmp_path / "quality").iterdir()
    os.rename(entry, entry.with_name(f".{entry.name}.new"))
    assert store.batch(NOW_MS) == []
    store.add(_scrape(NOW_MS), NOW_MS)
    assert len(list((tmp_path / "quality").iterdir())) == 1
