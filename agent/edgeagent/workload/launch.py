"""Starting the service as a process that stays when the agent ends."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.workload.errors import ControlError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.workload.settings import WorkloadSettings

LOG_FILE = "workload.log"
MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""For the C library, where the environment says nothing: megabytes that were sealed are given back."""

_UNKNOWN_END = -1


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that was started here, and whose end is seen here while this program runs.

    It is no `Popen`, as that one complains when its program ends first.
    """

    pid: int

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs. Not to be asked again after that."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return _UNKNOWN_END
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self) -> None:
        """Asks it to end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


def launch(settings: WorkloadSettings) -> Launched:
    """Starts the service in a session of its own, with its log in a file.

    :raises ControlError: it cannot be started.
    """
    log_file = log_path(settings)
    own = ["--detached", f"--log-file={log_file}"]
    command = [sys.executable, "-m", "edgeagent.workload", *settings.arguments(), *own]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        settings.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        pid = os.posix_spawn(
            sys.executable,
            command,
            {**MEMORY, **os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                # What it prints before it has a log, such as a usage text, belongs there too.
                (os.POSIX_SPAWN_OPEN, 1, str(log_file), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise ControlError(f"the workload service cannot be started: {error}") from None
    return Launched(pid)


def log_path(settings: WorkloadSettings) -> Path:
    """Log of a service that was started here."""
    return settings.home / LOG_FILE
