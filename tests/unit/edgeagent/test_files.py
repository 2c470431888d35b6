from __future__ import annotations

import stat
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from edgeagent.files import create_secret, make_folder, read_limited, set_aside, write_secret

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_secret(tmp_path / "a", b"1")
    assert create_secret(tmp_path / "b", b"1")
    assert mode(tmp_path / "a") == mode(tmp_path / "b") == 0o600
    make_folder(tmp_path / "x" / "y")
    assert mode(tmp_path / "x" / "y") == 0o700


def test_a_folder_gets_its_mode_also_when_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir(mode=0o777)
    make_folder(tmp_path / "x")
    assert mode(tmp_path / "x") == 0o700


def test_a_created_file_is_never_replaced(tmp_path: Path) -> None:
    assert create_secret(tmp_path / "a", b"1")
    assert not create_secret(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, step: str) -> None:
    with patch(f"os.{step}", side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
        create_secret(tmp_path / "a", b"1")
    assert not list(tmp_path.iterdir())


def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path) -> None:
    write_secret(tmp_path / "a", b"old")
    with patch("os.fsync", side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
        write_secret(tmp_path / "a", b"new")
    with patch("pathlib.Path.replace", side_effect=OSError("no")), pytest.raises(OSError, match="no"):
        write_secret(tmp_path / "a", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_reading_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert read_limited(tmp_path / "a", 3) == b"123"
    with pytest.raises(ValueError, match="more than 2 bytes"):
        read_limited(tmp_path / "a", 2)


def test_a_damaged_file_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert set_aside(tmp_path / "a").read_bytes() == b"1"
    assert not (tmp_path / "a").exists()
