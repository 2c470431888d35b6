"""Debian's mosquitto as a peer: plain and TLS listener, passwords, nothing dropped, nothing stored."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparison.processes import Endpoint, RunningBroker, accepts, broker_process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"

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


@dataclass(frozen=True)
class Client:
    """One client of the run and its credentials."""

    role: str
    client_id: str
    password: str

    @property
    def topic(self) -> str:
        """Topic of a publisher, filter of a subscriber."""
        return f"bench/{self.client_id}" if self.role == "pub" else "bench/#"

    def line(self) -> str:
        """Its line in the generator's client file."""
        return json.dumps(
            {
                "role": self.role,
                "clientId": self.client_id,
                "username": self.client_id,
                "password": self.password,
                "topic" if self.role == "pub" else "filter": self.topic,
            }
        )


def make_clients(publishers: int, subscribers: int) -> list[Client]:
    """Clients with fresh passwords."""
    named = [("pub", f"pub{i}") for i in range(publishers)] + [("sub", f"sub{i}") for i in range(subscribers)]
    return [Client(role, name, secrets.token_urlsafe(24)) for role, name in named]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed EC P-256 certificate for the loopback address; gives certificate and key file."""
    cert, key = directory / "broker.crt", directory / "broker.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


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


@contextlib.contextmanager
def start_mosquitto(
    directory: Path, *, binary: str, core: int | None, publishers: int, subscribers: int
) -> Iterator[RunningBroker]:
    """Run mosquitto on free ports while the context is open; all its files are in `directory`."""
    clients = make_clients(publishers, subscribers)
    clients_file, passwords = directory / "clients.jsonl", directory / "passwords"
    clients_file.write_text("".join(client.line() + "\n" for client in clients))
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
        command, core=core, env=os.environ, log=log, ready=lambda: accepts(HOST, tls_port)
    ) as pid:
        yield RunningBroker(pid, clients_file, endpoints)
