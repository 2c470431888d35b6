"""The deployment in a file."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.manifest.errors import ManifestFormatError
from edgeagent.source.desired import Desired, DesiredBox
from edgeagent.source.file_source import FileSource, ManifestFileError
from edgeagent.source.file_state import DEBOUNCE_S, FileState, Signature

if TYPE_CHECKING:
    from pathlib import Path


class Watched:
    """A file, a source that looks at it, and the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.box = DesiredBox()
        self.source = FileSource(path, self.box)
        self.now = 0.0

    def write(self, content: Any) -> None:
        """Another file takes its place, as editors and configuration tools do."""
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(text)
        os.replace(fresh, self.path)

    def look(self, seconds: float) -> None:
        """Looks once, then once more after so long."""
        self.source.look(self.now)
        self.now += seconds
        self.source.look(self.now)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "manifest.json")


def test_the_first_look_reads_at_once(watched: Watched) -> None:
    watched.write({"modulesContent": {"$edgeAgent": {"properties.desired": {"a": 1}}}})
    watched.source.look(0.0)
    assert watched.box.latest() == Desired(1, {"a": 1})


def test_a_change_is_read_when_it_has_settled(watched: Watched) -> None:
    watched.write({"a": 1})
    watched.source.look(0.0)
    watched.write({"a": 2})
    watched.look(DEBOUNCE_S - 0.01)
    assert watched.box.latest() == Desired(1, {"a": 1})
    watched.look(0.02)
    assert watched.box.latest() == Desired(2, {"a": 2})


def test_an_equal_file_is_no_change(watched: Watched) -> None:
    watched.write({"a": 1})
    watched.source.look(0.0)
    watched.box.changed.clear()
    watched.write(b' {"a" : 1} ')
    watched.look(DEBOUNCE_S)
    assert not watched.box.changed.is_set()


@pytest.mark.parametrize(
    ("told", "wanted"), [(7, 7), (1, 2), (True, 2), ("9", 2)], ids=["higher", "lower", "no number", "text"]
)
def test_versions(watched: Watched, told: Any, wanted: int) -> None:
    watched.write({"a": 1})
    watched.source.look(0.0)
    watched.write({"a": 2, "$version": told, "$metadata": {}})
    watched.look(DEBOUNCE_S)
    assert watched.box.latest() == Desired(wanted, {"a": 2})


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"modulesContent":{}}'])
def test_o07_a_file_that_cannot_be_read_leaves_the_last_one(watched: Watched, content: bytes) -> None:
    """Row O07."""
    watched.write({"a": 1})
    watched.source.look(0.0)
    watched.write(content)
    watched.look(DEBOUNCE_S)
    assert watched.box.latest() == Desired(1, {"a": 1})
    assert isinstance(watched.box.fault, ManifestFormatError)
    watched.write({"a": 1})
    watched.look(DEBOUNCE_S)
    assert watched.box.fault is None


def test_no_file_at_first(watched: Watched) -> None:
    watched.source.look(0.0)
    assert isinstance(watched.box.fault, ManifestFileError)
    assert watched.box.latest() is None
    watched.write({"a": 1})
    watched.look(DEBOUNCE_S)
    assert watched.box.latest() == Desired(1, {"a": 1})


def test_a_file_that_is_gone_leaves_the_last_one(watched: Watched) -> None:
    watched.write({"a": 1})
    watched.source.look(0.0)
    watched.path.unlink()
    watched.look(DEBOUNCE_S)
    assert watched.box.latest() == Desired(1, {"a": 1})
    assert isinstance(watched.box.fault, ManifestFileError)


async def test_it_looks_by_itself(watched: Watched) -> None:
    watched.write({"a": 1})
    task = asyncio.create_task(watched.source.run())
    assert await watched.box.first() == Desired(1, {"a": 1})
    task.cancel()
    await asyncio.wait([task])


@given(st.lists(st.tuples(st.sampled_from([None, 1, 2, 3]), st.floats(0.1, 2.0)), max_size=30))
def test_what_was_read_last_is_what_is_there(steps: list[tuple[int | None, float]]) -> None:
    """Whatever happens, soon after the last change the file is read as it is then."""
    state, now, read = FileState(), 0.0, object()
    current: Signature | None = None
    for inode, wait in steps:
        current = None if inode is None else Signature(inode, 0, 0)
        if state.should_read(current, now):
            read = current
        now += wait
    for _ in range(3):
        if state.should_read(current, now):
            read = current
        now += DEBOUNCE_S
    assert read == current
    assert not state.should_read(current, now + 100)
