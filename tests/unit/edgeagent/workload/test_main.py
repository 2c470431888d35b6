from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from edgeagent.workload.__main__ import main
from edgeagent.workload.errors import EXIT_FAILED, EXIT_TAKEN
from edgeagent.workload.service import WorkloadService
from edgeagent.workload.settings import WorkloadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    before = logging.root.handlers[:]
    yield
    for handler in logging.root.handlers[:]:
        if handler not in before:
            logging.root.removeHandler(handler)
            handler.close()


def test_settings_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--home", str(tmp_path), "--hub-host", "h", "--device-id", "d"]
    assert main([*given, "--ca-key", "k"]) == EXIT_FAILED
    assert capsys.readouterr().err.startswith("edgeagent workload: give both the certificate and the key")


def test_a_home_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "h").write_text("")
    given = ["--home", str(tmp_path / "h"), "--hub-host", "h", "--device-id", "d"]
    assert main(given) == EXIT_FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = WorkloadSettings(tmp_path, "h", "d")
    service = WorkloadService(settings)
    try:
        assert main(settings.arguments()) == EXIT_TAKEN
    finally:
        service._lock.close()
    assert "is served by process" in capsys.readouterr().err


def test_a_log_file_that_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = WorkloadSettings(tmp_path, "h", "d")
    assert main([*settings.arguments(), f"--log-file={tmp_path}/none/log"]) == EXIT_FAILED
    assert "none/log" in capsys.readouterr().err
