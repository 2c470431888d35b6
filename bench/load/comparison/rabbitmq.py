"""Debian's rabbitmq-server with its MQTT plugin as a peer: persistent messages, queues on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.logins import HOST, make_certificate, make_clients, write_clients
from comparison.processes import Endpoint, Needs, RunningBroker, accepts, broker_process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

BINARY = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PACKAGE = "rabbitmq-server"
GUEST = "guest"
"""The user that a new server knows, and lets in from its own machine alone."""
PREFETCH = 65_535
"""Messages that a subscriber may owe an acknowledgement for."""


def config_text(ports: tuple[int, int], tls: tuple[Path, Path] | None) -> str:
    """The configuration.

    Args:
        ports: of AMQP, which cannot be left out, and of MQTT.
        tls: certificate and key.
    """
    lines = [
        f"listeners.tcp.default = {HOST}:{ports[0]}",
        f"mqtt.prefetch = {PREFETCH}",
        "log.console.level = error",
        "log.file = false",
    ]
    listener = f"{HOST}:{ports[1]}"
    if tls is None:
        lines += [f"mqtt.listeners.tcp.default = {listener}"]
    else:
        lines += ["mqtt.listeners.tcp = none", f"mqtt.listeners.ssl.default = {listener}"]
        lines += [f"ssl_options.cacertfile = {tls[0]}", f"ssl_options.certfile = {tls[0]}"]
        lines += [f"ssl_options.keyfile = {tls[1]}", "ssl_options.verify = verify_none"]
    return "\n".join(lines) + "\n"


def environment(folder: Path, port: int) -> dict[str, str]:
    """Everything of the server in one folder, and its ports away from the usual ones."""
    return {
        "HOME": str(folder),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        # Without it the process that is started and observed would be a shell.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Its name service outlives it: one of its own can be ended.
        "ERL_EPMD_PORT": str(free_port()),
    }


@dataclass(frozen=True)
class RabbitMq:
    """rabbitmq-server. All clients log in as its guest: a new server knows nobody else."""

    name: str = "rabbitmq"

    def missing(self) -> str | None:
        """Whether Debian's package is there, and its program may be run."""
        if not Path(BINARY).exists() or shutil.which("erl") is None:
            return "run: apt-get install rabbitmq-server"
        return None

    def version(self) -> str:
        """The version of the package."""
        command = ("dpkg-query", "--show", "--showformat=${Version}", PACKAGE)
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return f"{PACKAGE} {shown}"

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """One listener, plain or TLS."""
        return _start(work_dir, needs)


@contextlib.contextmanager
def _start(directory: Path, needs: Needs) -> Iterator[RunningBroker]:
    clients = make_clients(needs.publishers, needs.subscribers)
    guests = [replace(client, username=GUEST, password=GUEST) for client in clients]
    write_clients(directory / "clients.jsonl", guests)
    tls = make_certificate(directory) if needs.transport == "tls" else None
    own_port, port = free_port(), free_port()
    (directory / "rabbitmq.conf").write_text(config_text((own_port, port), tls))
    (directory / "plugins").write_text("[rabbitmq_mqtt].\n")
    env = {**os.environ, **environment(directory, port)}
    try:
        with broker_process(
            [BINARY],
            core=needs.core,
            env=env,
            log=directory / "rabbitmq.log",
            ready=lambda: accepts(HOST, port),
        ) as pid:
            endpoint = Endpoint(HOST, port, tls[0] if tls else None)
            yield RunningBroker(pid, directory / "clients.jsonl", {needs.transport: endpoint})
    finally:
        subprocess.run(["epmd", "-kill"], env=env, capture_output=True, check=False)
