"""`edgehub store ls`, and finding the folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.cli.store.report import iso_time, printable
from testkit.store_files import WRITTEN_MS, StoreFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]


def test_queues_and_segments_as_json(run: Run, store: StoreFiles) -> None:
    result = run("ls", store.folder, "--json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, third = shown["queues"]
    assert (first["endpoint"], first["messages"], first["headSeq"], first["nextSeq"]) == ("iothub", 2, 1, 3)
    assert first["firstExpiresAt"] == first["lastExpiresAt"] == iso_time(WRITTEN_MS + 60_000)
    assert first["neverExpiring"] == 1
    assert first["oldestEnqueuedAt"] < first["newestEnqueuedAt"]
    assert (second["priority"], second["messages"], third["messages"]) == (5, 1, 0)
    assert third["oldestEnqueuedAt"] is None
    [segment] = shown["segments"]
    assert (segment["state"], segment["usedBytes"], segment["findings"]) == ("last", len(store.content), [])
    assert shown["totals"] == {
        "queues": 3,
        "messages": 3,
        "spilled": 0,
        "segments": 1,
        "bytes": len(store.content),
        "usedBytes": len(store.content),
        "countedBytes": len(store.content),
        "spillFiles": 0,
        "spillBytes": 0,
    }


def test_text_names_queues_as_the_other_commands_take_them(run: Run, store: StoreFiles) -> None:
    shown = run("ls", store.folder).stdout
    names = [line.split()[0] for line in shown.splitlines() if line]
    assert names[:4] == ["queue", "edge/filter/in:5", "edge/filter/in:7", "iothub"]
    assert "3 queues, 3 messages, 1 segment" in shown


def test_times_are_those_of_the_wall_clock(run: Run, tmp_path: Path) -> None:
    hour_ms = 3_600_000
    store = StoreFiles(tmp_path, wall_skew_ms=hour_ms)
    store.define(1, "iothub")
    place = len(store.content)
    store.append([1], b"early", WRITTEN_MS + 60_000)
    store.step_clock(9 * hour_ms)
    store.append([1], b"late")
    shown = json.loads(run("ls", tmp_path, "--json").stdout)
    [queue], [segment] = shown["queues"], shown["segments"]
    assert queue["oldestEnqueuedAt"] == iso_time(WRITTEN_MS + place + hour_ms)
    assert queue["newestEnqueuedAt"] > str(iso_time(WRITTEN_MS + 9 * hour_ms))
    # An expiry is still to come: what counts is how the clock stands at the end.
    assert queue["firstExpiresAt"] == iso_time(WRITTEN_MS + 60_000 + 9 * hour_ms)
    assert segment["createdAt"] == iso_time(WRITTEN_MS + hour_ms)


@pytest.mark.parametrize("above", ["", "messages", "edgeHub/messages"])
def test_the_base_folder_will_do(run: Run, tmp_path: Path, above: str) -> None:
    StoreFiles(tmp_path / above).define(1, "iothub")
    assert "iothub" in run("ls", tmp_path).stdout


def test_without_folder_it_is_that_of_the_hub(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoreFiles(tmp_path / "edgeHub" / "messages").define(1, "iothub")
    monkeypatch.setenv("StorageFolder", str(tmp_path))
    assert "iothub" in run("ls").stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing", "does not exist"), ("file", "is no folder"), ("empty", "is not a store; expected files")],
)
def test_what_is_no_store_is_an_error(run: Run, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    result = run("ls", tmp_path / name)
    assert result.exit_code == 1
    assert text in result.stderr
    assert result.stdout == ""


def test_a_setting_that_names_no_folder_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("StorageFolder", "/no/such/folder")
    result = run("ls")
    assert result.exit_code == 1
    assert "StorageFolder=/no/such/folder does not exist" in result.stderr


def test_no_permission_is_told(run: Run, store: StoreFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)
    result = run("ls", store.folder)
    assert result.exit_code == 1
    assert f"no permission to read {store.folder}; use the hub's user" in result.stderr


def test_other_faults_of_a_folder_are_told(run: Run, tmp_path: Path) -> None:
    result = run("ls", tmp_path / ("x" * 300))
    assert result.exit_code == 1
    assert "File name too long" in result.stderr


def test_a_newer_format_is_refused(run: Run, tmp_path: Path) -> None:
    StoreFiles(tmp_path, version=2)
    result = run("ls", tmp_path)
    assert result.exit_code == 1
    assert "format version 2 is newer than 1" in result.stderr


def test_nothing_in_the_folder_changes(run: Run, store: StoreFiles) -> None:
    store.path.write_bytes(store.content + b"torn")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.folder.iterdir()}
    for arguments in (["ls"], ["verify"], ["peek", "iothub"], ["export", "iothub"]):
        run(*arguments, store.folder)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.folder.iterdir()}
    assert after == before


def test_times_and_texts() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(2**64 - 2) == "9999-12-31T23:59:59.999Z"
    assert iso_time(None) is None
    assert printable("\u00b0\x1b[31m\x9b") == "\u00b0\\x1b[31m\\x9b"
