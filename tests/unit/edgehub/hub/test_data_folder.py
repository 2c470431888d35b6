"""The data folder (settings spec 1.1, S22)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from edgehub.hub.folders import FolderError, choose_base, open_data_folder


def test_a_blank_setting_means_the_temporary_folder() -> None:
    assert choose_base(" ") == (Path(tempfile.gettempdir()), None)


def test_an_existing_folder_is_used(tmp_path: Path) -> None:
    assert choose_base(str(tmp_path)) == (tmp_path, None)


def test_a_missing_folder_is_replaced_with_a_warning(tmp_path: Path) -> None:
    base, warning = choose_base(str(tmp_path / "none"))
    assert base == Path(tempfile.gettempdir())
    assert warning is not None
    assert f"StorageFolder={tmp_path / 'none'}" in warning


def test_the_folder_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path)
    assert folder.path == tmp_path / "edgeHub"
    assert folder.messages.is_dir()
    assert folder.state_file == tmp_path / "edgeHub/state.db"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.release()


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "edgeHub").mkdir(mode=0o755)
    folder = open_data_folder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.release()


def test_only_one_hub_uses_it(tmp_path: Path) -> None:
    first = open_data_folder(tmp_path)
    with pytest.raises(FolderError, match="in use by another hub"):
        open_data_folder(tmp_path)
    first.release()
    open_data_folder(tmp_path).release()


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "edgeHub").write_text("")
    with pytest.raises(FolderError, match="cannot be used"):
        open_data_folder(tmp_path)
