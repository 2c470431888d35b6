"""The command `edgehub`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import edgehub
from edgehub.cli import main


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
    "arguments",
    [["nonsense"], ["route", "nonsense"], ["route", "check"], ["--nonsense"], ["route", "match", "x"]],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


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
