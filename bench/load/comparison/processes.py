"""Start a broker on one core, wait until it serves, and end it by its own process id."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

READY_LIMIT_S = 120.0
POLL_S = 0.05
STOP_LIMIT_S = 20.0
LOG_TAIL_BYTES = 2000


class StartError(Exception):
    """A broker did not come up; the message has the end of what it wrote."""


@dataclass(frozen=True)
class Endpoint:
    """Where the generator connects to: one listener of a running broker."""

    host: str
    port: int
    ca_file: Path | None
    """Certificates to trust; None for plain TCP."""


@dataclass(frozen=True)
class Needs:
    """What a scenario asks of a broker."""

    transport: str
    publishers: int
    subscribers: int
    core: int | None
    """Core that it is pinned to; None leaves it free."""


@dataclass(frozen=True)
class RunningBroker:
    """A broker that serves."""

    pid: int
    clients_file: Path
    """JSON lines as `edgehub-load --help` describes them."""
    endpoints: Mapping[str, Endpoint]
    """By transport: `plain`, `tls`. A transport that is missing is not offered."""
    control: Path | None = None
    """How to keep its control plane busy, as busy.py describes it; None when it has none."""


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    """The command on one core. taskset(1) becomes the command, so the process id is that of the broker."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def wait_until(
    ready: Callable[[], bool],
    exit_code: Callable[[], int | None],
    *,
    limit_s: float = READY_LIMIT_S,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Wait for a process to be ready. Returns None when it is, else what went wrong."""
    deadline = now() + limit_s
    while not ready():
        code = exit_code()
        if code is not None:
            return f"it ended with status {code}"
        if now() > deadline:
            return f"it was not ready after {limit_s:g} s"
        sleep(POLL_S)
    return None


@contextlib.contextmanager
def broker_process(
    command: Sequence[str], *, core: int | None, env: Mapping[str, str], log: Path, ready: Callable[[], bool]
) -> Iterator[int]:
    """Run a broker while the context is open; gives its process id.

    Raises:
        StartError: it ended or did not become ready; the end of its log is in the message.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            pinned(core, command), env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        problem = wait_until(ready, process.poll)
        if problem is not None:
            raise StartError(f"{command[0]}: {problem}\n{log_tail(log)}")
        yield process.pid
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; kill it when it does not."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def log_tail(log: Path) -> str:
    """The end of a log file."""
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
