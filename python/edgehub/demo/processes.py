"""Child processes: started with a log file, watched, and ended by their own number."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from edgehub.demo.errors import ChildError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

GRACE_S: Final = 20.0
"""Time that a child has to end after SIGTERM, before SIGKILL."""
READY_S: Final = 30.0
"""Time that a child has to become ready."""
_POLL_S: Final = 0.05
_LOG_TAIL_BYTES: Final = 4096
_LOG_LINE_CHARS: Final = 200
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Child:
    """One child process, which may be started again after it ended.

    :param label: name for messages.
    :param argv: program and arguments; an own interpreter is `sys.executable`.
    :param environment: added to the one of this process.
    :param log: file that receives standard output and error, appended to.
    :param ready: asked until it is true before a start counts as done; None: a start is done at once.
    :param on_fault: told when the process ends by itself after it was ready.
    """

    def __init__(
        self,
        label: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        ready: Callable[[], Awaitable[bool]] | None = None,
        on_fault: Callable[[ChildError], None] | None = None,
    ) -> None:
        self.label = label
        self.log = log
        self._stopping = False
        self._argv = list(argv)
        self._environment = dict(environment)
        self._ready = ready
        self._on_fault = on_fault
        self._watcher: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Number of the running process."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """Of the last run; negative is a signal. None before the first end."""
        return self._process.returncode if self._process is not None else None

    def change_environment(self, changes: Mapping[str, str]) -> None:
        """Sets variables for the starts to come."""
        self._environment |= changes

    async def start(self) -> None:
        """Starts the process and waits until it is ready.

        :raises ChildError: it runs already, cannot be started, ended at once, or took too long.
        """
        if self.running:
            raise ChildError(f"{self.label} is running already")
        self._stopping = False
        with self.log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    env={**os.environ, **self._environment},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Ctrl-C in the terminal is for the demo alone, which then ends its children in order.
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            except OSError as error:
                raise ChildError(f"{self.label} cannot be started: {error.strerror}") from None
        if self._ready is not None:
            await self._wait_ready(self._ready)
        self._watcher = asyncio.create_task(self._watch())

    async def _wait_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        deadline_s = asyncio.get_running_loop().time() + READY_S
        while not await ready():
            if not self.running:
                raise self.ended_error("before it was ready")
            if asyncio.get_running_loop().time() > deadline_s:
                raise ChildError(f"{self.label} was not ready after {READY_S:.0f} s (log: {self.log})")
            await asyncio.sleep(_POLL_S)

    async def wait(self) -> int:
        """Waits for the end and returns the exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, grace_s: float = GRACE_S) -> int | None:
        """Asks the process to end, and kills it if it does not. Idempotent.

        :returns: its exit code, None if it was never started.
        """
        self._stopping = True
        if self.running:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_s):
                    await self.wait()
            except TimeoutError:
                return await self.kill()
        return self.exit_code

    async def kill(self) -> int | None:
        """Ends the process without warning, as a crash would."""
        self.kill_now()
        if self._process is not None:
            await self.wait()
        return self.exit_code

    def kill_now(self) -> None:
        """As `kill`, without waiting for the end."""
        self._stopping = True
        if self.running:
            self._signal(signal.SIGKILL)

    def ended_error(self, when: str) -> ChildError:
        """What to tell of a process that ended: how, its last line, and where its log is."""
        code = self.exit_code
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        last = last_line(self.log)
        said = f": {last}" if last else ""
        return ChildError(f"{self.label} ended {when} {how}{said} (log: {self.log})")

    async def _watch(self) -> None:
        await self.wait()
        if not self._stopping and self._on_fault is not None:
            self._on_fault(self.ended_error("unexpectedly"))

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def python_module(name: str, *arguments: str) -> list[str]:
    """Arguments that run a module with this interpreter."""
    return [sys.executable, "-m", name, *arguments]


def last_line(log: Path) -> str:
    """The last line with content, cut to a readable length; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:_LOG_LINE_CHARS] if lines else ""


def _end_with_parent() -> None:
    """Runs in the child: it gets SIGTERM if the demo dies without having ended it (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
