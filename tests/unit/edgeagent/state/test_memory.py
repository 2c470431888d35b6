"""What is saved is loaded again; what is damaged is put aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeagent.model.current import Restarts
from edgeagent.model.module import DesiredStatus
from edgeagent.reconcile.progress import Remembered
from edgeagent.state.files import StateFileError, read_file, write_file
from edgeagent.state.memory import FileMemory

if TYPE_CHECKING:
    from pathlib import Path

names = st.text("abc", min_size=1, max_size=3)
remembereds = st.builds(
    Remembered,
    st.dictionaries(names, st.builds(Restarts, st.integers(1, 20), st.integers(0, 2**53))),
    st.dictionaries(names, st.sampled_from(DesiredStatus)),
    st.dictionaries(names, st.integers(0, 2**53)),
    st.sets(names),
)


@pytest.fixture
def memory(tmp_path: Path) -> FileMemory:
    return FileMemory(tmp_path / "state")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(remembered=remembereds)
def test_what_is_saved_is_loaded(memory: FileMemory, remembered: Remembered) -> None:
    memory.save(remembered)
    assert memory.load() == remembered


def test_nothing_was_saved(memory: FileMemory) -> None:
    assert memory.load() == Remembered()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a":{"applied":"x"}}', b"\xff"])
def test_damaged_files_are_put_aside(memory: FileMemory, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "modules.json").write_bytes(content)
    assert memory.load() == Remembered()
    assert sorted(path.name for path in folder.iterdir()) == ["modules.json.damaged"]


def test_a_file_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file in its place")
    with pytest.raises(StateFileError, match=r"modules\.json cannot be written: "):
        write_file(tmp_path / "folder" / "modules.json", b"x")


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    write_file(tmp_path / "x", b"old")
    (tmp_path / ".x.new").write_bytes(b"half of the n")
    assert read_file(tmp_path / "x") == b"old"
    write_file(tmp_path / "x", b"new")
    assert read_file(tmp_path / "x") == b"new"
