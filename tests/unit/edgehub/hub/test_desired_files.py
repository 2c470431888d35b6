"""Desired properties in files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.hub.desired_files import DesiredFileError, read_desired_file

if TYPE_CHECKING:
    from pathlib import Path

DESIRED = {"schemaVersion": "1.1", "routes": {}}


def write(folder: Path, value: Any) -> Path:
    path = folder / "file.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    "value",
    [
        DESIRED,
        {"modulesContent": {"$edgeAgent": {}, "$edgeHub": {"properties.desired": DESIRED}}},
        {"modulesContent": {"$edgeHub": {"properties": {"desired": DESIRED}}}},
        {"id": "x", "content": {"modulesContent": {"$edgeHub": {"properties.desired": DESIRED}}}},
    ],
)
def test_forms(tmp_path: Path, value: Any) -> None:
    assert read_desired_file(write(tmp_path, value)) == DESIRED


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        1,
        {"modulesContent": {}},
        {"modulesContent": {"$edgeHub": {"properties": 1}}},
        {"content": 1},
        "{",
        "",
    ],
)
def test_other_files_are_named(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DesiredFileError, match=r"file\.json"):
        read_desired_file(write(tmp_path, value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DesiredFileError, match="No such file"):
        read_desired_file(tmp_path / "none.json")
