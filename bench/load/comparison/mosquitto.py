"""Debian's mosquitto as a peer: plain and TLS listener, passwords, nothing dropped, nothing stored."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparison.logins import HOST, Client, make_certificate, make_clients, write_clients
from comparison.processes import Endpoint, Needs, RunningBroker, accepts, broker_process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

CONFIG = """\
user {user}
persistence false
log_dest none
log_type none
allow_anonymous false
password_file {passwords}
set_tcp_nodelay true
# No limit, so that nothing is dropped: the windows of the publishers bound what is under way.
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
listener {plain_port} {host}
listener {tls_port} {host}
certfile {cert}
keyfile {key}
"""


def write_passwords(path: Path, clients: list[Client]) -> None:
    """A password file, hashed by mosquitto's own tool."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{client.client_id}:{client.password}\n" for client in clients))
    subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True)


def config_text(*, passwords: Path, cert: Path, key: Path, plain_port: int, tls_port: int, user: str) -> str:
    """The configuration file."""
    values = {"passwords": passwords, "cert": cert, "key": key, "user": user}
    return CONFIG.format(host=HOST, plain_port=plain_port, tls_port=tls_port, **values)


def version(binary: str) -> str:
    """First line of `mosquitto -h`."""
    shown = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False).stdout
    return shown.partition("\n")[0]


@dataclass(frozen=True)
class Mosquitto:
    """The peer that bars refer to."""

    binary: str
    name: str = "mosquitto"

    def missing(self) -> str | None:
        """Whether Debian's package is there."""
        return None if shutil.which(self.binary) else "run: apt-get install mosquitto"

    def version(self) -> str:
        """As it tells."""
        return version(self.binary)

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """Plain and TLS listener."""
        return start_mosquitto(work_dir, self.binary, needs)


@contextlib.contextmanager
def start_mosquitto(directory: Path, binary: str, needs: Needs) -> Iterator[RunningBroker]:
    """Run mosquitto on free ports while the context is open; all its files are in `directory`."""
    clients = make_clients(needs.publishers, needs.subscribers)
    clients_file, passwords = directory / "clients.jsonl", directory / "passwords"
    write_clients(clients_file, clients)
    write_passwords(passwords, clients)
    cert, key = make_certificate(directory)
    plain_port, tls_port = free_port(), free_port()
    config = directory / "mosquitto.conf"
    config.write_text(
        config_text(
            passwords=passwords,
            cert=cert,
            key=key,
            plain_port=plain_port,
            tls_port=tls_port,
            user=getpass.getuser(),
        )
    )
    endpoints = {"plain": Endpoint(HOST, plain_port, None), "tls": Endpoint(HOST, tls_port, cert)}
    command = [binary, "-c", str(config)]
    log = directory / "mosquitto.log"
    with broker_process(
        command, core=needs.core, env=os.environ, log=log, ready=lambda: accepts(HOST, tls_port)
    ) as pid:
        yield RunningBroker(pid, clients_file, endpoints)
