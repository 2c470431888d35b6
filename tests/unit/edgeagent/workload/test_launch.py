from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from edgeagent.workload.errors import ControlError
from edgeagent.workload.launch import Launched, launch, log_path
from edgeagent.workload.settings import WorkloadSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = WorkloadSettings(tmp_path / "h", "hub.test", "dev1")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    with patch("os.posix_spawn", return_value=42) as spawned:
        assert launch(settings) == Launched(42)
    program, command, environment = spawned.call_args.args
    assert program == sys.executable
    assert command[1:3] == ["-m", "edgeagent.workload"]
    assert command[3:] == [*settings.arguments(), "--detached", f"--log-file={log_path(settings)}"]
    assert environment["MALLOC_ARENA_MAX"] == "7"
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "65536"
    assert spawned.call_args.kwargs["setsid"]


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("")
    with pytest.raises(ControlError, match="cannot be started"):
        launch(WorkloadSettings(tmp_path / "h", "hub.test", "dev1"))


def test_ending_a_process() -> None:
    process = Launched(
        os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    )
    process.end()
    while (code := process.poll()) is None:
        pass
    assert code == -signal.SIGTERM


def test_the_end_of_a_process() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "exit(3)"], os.environ)
    process = Launched(pid)
    while (code := process.poll()) is None:
        pass
    assert code == 3
    assert process.poll() == -1, "somebody else saw its end"
