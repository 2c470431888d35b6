"""The command `edgehub`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgehub
from edgehub.cli import main
from edgehub.cli.route import check_document, result_as_text
from testkit import fake_core

ROUTE = "FROM /* INTO $upstream"


@pytest.fixture(autouse=True)
def core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edgehub._core", fake_core)
    monkeypatch.setattr(edgehub, "_core", fake_core, raising=False)


def desired(**routes: Any) -> dict[str, Any]:
    return {"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": {}}


def write(folder: Path, document: Any) -> str:
    path = folder / "deployment.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("arguments", [["--version"], ["route", "check", "--help"], ["--help"]])
def test_information(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "edgehub" in capsys.readouterr().out


def test_the_version_is_the_package_s() -> None:
    pyproject = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    assert f'version = "{edgehub.__version__}"' in pyproject


def test_help_shows_examples_and_where_the_settings_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert "docs/configuration.md" in shown
    assert "edgehub route check deployment.json" in shown


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["route", "nonsense"], ["route", "check"], ["--nonsense"]]
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_good_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["route", "check", write(tmp_path, desired(a=ROUTE, b=ROUTE))]) == 0
    assert capsys.readouterr().out == "2 route(s), all right\n"


def test_bad_routes_are_shown_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["route", "check", write(tmp_path, desired(good=ROUTE, bad="FROM BAD"))]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "bad:1:1: Syntax error.",
        "    FROM BAD",
        "    ^^^^^^^^",
        "2 route(s), 1 with faults",
    ]


def test_json_for_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = desired(bad={"route": "BAD", "priority": 3, "timeToLiveSecs": 5})
    assert main(["route", "check", "--json", write(tmp_path, document)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "error": None,
        "warnings": [],
        "routes": [{"name": "bad", "route": "BAD", "priority": 3, "timeToLiveSecs": 5}],
        "faults": [
            {"route": "bad", "message": "Syntax error.", "line": 1, "column": 1, "endLine": 1, "endColumn": 4}
        ],
    }


def test_a_document_that_is_refused_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, desired() | {"schemaVersion": "2.0"})
    assert main(["route", "check", path]) == 1
    assert "error: EdgeHub config contains unsupported SchemaVersion: 2.0" in capsys.readouterr().out
    assert main(["route", "check", "--json", path]) == 1
    assert json.loads(capsys.readouterr().out)["valid"] is False


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_files_that_are_none(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert main(["route", "check", str(path)]) == 2
    assert "x.json" in capsys.readouterr().err
    assert main(["route", "check", str(tmp_path / "none")]) == 2


def test_the_device_id_reaches_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def check(edge_device_id: str, routes: Any) -> list[Any]:
        seen.append(edge_device_id)
        return []

    monkeypatch.setattr(fake_core, "check_routes", check)
    path = write(tmp_path, desired(a=ROUTE))
    monkeypatch.delenv("IOTEDGE_DEVICEID", raising=False)
    main(["route", "check", path])
    monkeypatch.setenv("IOTEDGE_DEVICEID", "edge7")
    main(["route", "check", path])
    main(["route", "check", path, "--device", "edge8"])
    assert seen == ["device", "edge7", "edge8"]


def test_a_place_outside_the_text_is_shown_without_marks() -> None:
    def check(edge_device_id: str, routes: Any) -> Any:
        return [
            fake_core.RouteFault("a", "m1", 9, 1, 9, 2),
            fake_core.RouteFault("a", "m2", 1, 3, 2, 1),
        ]

    result = check_document(desired(a="ab cd\nef"), "d", check)
    assert result_as_text(result).splitlines() == [
        "a:9:1: m1",
        "a:1:3: m2",
        "    ab cd",
        "      ^^^",
        "1 route(s), 1 with faults",
    ]


def test_a_run_does_not_import_what_only_commands_need() -> None:
    script = (
        "import sys, edgehub.cli, edgehub.app\n"
        "heavy = {'typer', 'rich', 'prometheus_client', 'cryptography', 'proton', 'sqlalchemy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    folder = Path(edgehub.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(folder)},
    )
    assert done.stdout.strip() == "[]"
