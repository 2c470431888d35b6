"""`iotedge system`: the services of the device (agent spec 8.3).

They are looked at by asking them, so `status` tells the truth also where no service manager runs. What starts
and stops them is systemd.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.config.paths import HOME
from edgeagent.errors import AgentError
from edgeagent.files import write_secret
from edgeagent.management.programs import ProgramError, program_output
from edgeagent.runtime.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgeagent.management.client import ManagementClient

AGENT, WORKLOAD, ENGINE = "edgeagent", "edgeagent-workload", "docker"
OWN_SERVICES = (AGENT, WORKLOAD)
NAME_CHARS = 24
JOURNAL_LINES = 10
PROGRAM_S = 180.0
ASK_S = 10.0
UNITS_FOLDER = Path("/etc/systemd/system")
LEVELS = {"error": "error", "warn": "warning", "info": "info", "debug": "debug", "trace": "verbose"}
"""As this command knows them, to `RuntimeLogLevel`."""


class ServiceManagerError(AgentError):
    """The service manager is not there, or refused."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service.

    :ivar reason: why it is down; blank when it answers.
    """

    name: str
    reason: str = ""

    def as_line(self) -> str:
        said = f"Down - {self.reason}" if self.reason else "Running"
        return f"    {self.name:<{NAME_CHARS}}{said}"


async def service_statuses(client: ManagementClient, engine: str, home: Path) -> list[ServiceStatus]:
    """Agent, workload service and container engine."""
    socket = home / "workload-control.sock"
    return [
        await _status(AGENT, _ask_agent(client)),
        await _status(WORKLOAD, _connect(socket)),
        await _status(ENGINE, _ask_engine(engine)),
    ]


async def _status(name: str, asking: Awaitable[object]) -> ServiceStatus:
    try:
        async with asyncio.timeout(ASK_S):
            await asking
    except TimeoutError:
        return ServiceStatus(name, f"no answer within {ASK_S:g} s")
    except AgentError as fault:
        return ServiceStatus(name, str(fault))
    except OSError as fault:
        return ServiceStatus(name, fault.strerror or str(fault))
    return ServiceStatus(name)


async def _ask_agent(client: ManagementClient) -> None:
    await client.system_info()


async def _ask_engine(address: str) -> None:
    async with Engine(address) as engine:
        await engine.version()


async def _connect(socket: Path) -> None:
    _, writer = await asyncio.open_unix_connection(socket)
    writer.close()


async def print_status(statuses: Sequence[ServiceStatus], *, as_json: bool) -> None:
    """The table, then the last words of what is down."""
    if as_json:
        found = {each.name: {"running": not each.reason, "reason": each.reason} for each in statuses}
        print(json.dumps({"services": found}))
        return
    print("System services:")
    for each in statuses:
        print(each.as_line())
    print()
    for each in statuses:
        if each.reason:
            await _print_journal(each.name)
    print("Use 'iotedge system logs' to check for non-fatal errors.")
    print("Use 'iotedge check' to diagnose connectivity and configuration issues.")


async def _print_journal(name: str) -> None:
    arguments = ["journalctl", f"--unit={name}", f"--lines={JOURNAL_LINES}", "--no-pager"]
    try:
        said = b"".join([piece async for piece in program_output(arguments, ASK_S)])
    except ProgramError:
        return
    print(f"{name}:")
    print(said.decode("utf-8", "replace"))


def show_logs(arguments: Sequence[str]) -> int:
    """The journal of all services; exit code of the program that shows it."""
    program = _program("journalctl")
    given = list(arguments) or ["-e", "--no-pager"]
    units = [part for name in (*OWN_SERVICES, ENGINE) for part in ("-u", name)]
    return subprocess.run([program, *units, *given], check=False).returncode


def stop_services(run: Callable[..., None] | None = None) -> None:
    """Each with a line about it, the agent first."""
    act = run or systemctl
    for name in OWN_SERVICES:
        print(f"Stopping {name}...", end="", flush=True)
        act("stop", name)
        print("Stopped!")


def restart_services(run: Callable[..., None] | None = None) -> None:
    """Stops all and starts them, what the agent needs first."""
    act = run or systemctl
    _program("systemctl")
    stop_services(act)
    for name in reversed(OWN_SERVICES):
        print(f"Starting {name}...", end="", flush=True)
        act("start", name)
        print("Started!")


def set_log_level(level: str, folder: Path = UNITS_FOLDER) -> None:
    """Writes a drop-in for the agent's unit.

    :raises ServiceManagerError: no such level, or the file cannot be written.
    """
    known = LEVELS.get(level.lower())
    if known is None:
        raise ServiceManagerError(f'"{level}" is no log level; expected one of {", ".join(LEVELS)}')
    file = folder / f"{AGENT}.service.d" / "log-level.conf"
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_secret(file, f"[Service]\nEnvironment=RuntimeLogLevel={known}\n".encode())
        file.chmod(0o644)
    except OSError as fault:
        raise ServiceManagerError(f"{file} cannot be written: {fault.strerror}; run it with sudo") from None
    systemctl("daemon-reload")
    print(
        f"Set log level to {level} for all services. Run the `iotedge system restart` command for the "
        "changes to take effect."
    )


def systemctl(*arguments: str) -> None:
    """:raises ServiceManagerError: there is no systemd, or it refused."""
    command = [_program("systemctl"), *arguments]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=PROGRAM_S
        )
    except subprocess.TimeoutExpired:
        raise ServiceManagerError(f"{' '.join(arguments)}: no end within {PROGRAM_S:g} s") from None
    if done.returncode:
        said = done.stderr.strip() or f"it ended with {done.returncode}"
        raise ServiceManagerError(f"systemctl {' '.join(arguments)}: {said}")


def has_systemd() -> bool:
    """Whether systemd runs this system."""
    return shutil.which("systemctl") is not None and os.path.isdir("/run/systemd/system")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServiceManagerError(
            f"{name} is not on this system: its services are not run by systemd. "
            "Start and stop the agent as you started it; `edgeagent run` writes its log to standard output, "
            f"the workload service to {HOME}/workload.log"
        )
    return found
