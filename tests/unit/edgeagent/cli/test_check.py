"""`edgeagent check`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.cli import main
from testkit.agent_device import manifest

if TYPE_CHECKING:
    from pathlib import Path


def _file(folder: Path, document: Any, name: str = "deployment.json") -> str:
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)


def test_a_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _file(tmp_path, manifest(m={}))
    assert main(["check", file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: can be used, 1 module"
    assert lines[1].startswith("  warning: systemModules.edgeAgent: missing")


def test_a_bad_one_beside_a_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _file(tmp_path, manifest(m={}))
    bad = _file(tmp_path, manifest(m={"status": "up"}), "bad.json")
    assert main(["check", bad, good]) == 1
    assert (
        f'{bad}: cannot be used (400): modules.m.status: "up" is not one of running, stopped'
        in capsys.readouterr().out
    )


def test_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _file(tmp_path, manifest(m={}))
    bad = _file(tmp_path, {"schemaVersion": "2.0"}, "bad.json")
    assert main(["check", "--json", good, bad]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["code"] == 200
    assert first["modules"]["m"]["image"] == "m:1"
    assert second["code"] == 412
    assert "2.0" in second["error"]["text"]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'none.json'}: cannot be read: No such file or directory\n"


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = io.TextIOWrapper(io.BytesIO(json.dumps(manifest(m={})).encode()))
    monkeypatch.setattr("sys.stdin", text)
    assert main(["check", "-"]) == 0
    assert capsys.readouterr().out.startswith("-: can be used")


def test_upstream_needs_a_parent(tmp_path: Path) -> None:
    file = _file(tmp_path, manifest(m={"settings": {"image": "$upstream:443/m:1"}}))
    assert main(["check", file]) == 1
    assert main(["check", file, "--parent", "gw"]) == 0


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["check", "--help"]])
def test_help_and_version(arguments: list[str]) -> None:
    assert main(arguments) == 0
