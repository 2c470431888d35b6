"""rumqttd, a broker in Rust, as the Python package iotcore carries it. It stores nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparison.logins import HOST, Client, make_certificate, make_clients, write_clients
from comparison.processes import Endpoint, Needs, RunningBroker, accepts, broker_process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

PACKAGE = "iotcore"
PROGRAM = (
    "import sys; from iotcore import IotCoreBroker; IotCoreBroker(config_path=sys.argv[1]).run_forever()"
)

CONFIG = """\
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "bench"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
[v4.1.connections.auth]
"""


def config_text(clients: list[Client], port: int, tls: tuple[Path, Path] | None) -> str:
    """The configuration.

    Args:
        tls: certificate and key.
    """
    text = CONFIG.format(host=HOST, port=port)
    text += "".join(f'{client.client_id} = "{client.password}"\n' for client in clients)
    if tls is not None:
        text += f'[v4.1.tls]\ncertpath = "{tls[0]}"\nkeypath = "{tls[1]}"\n'
    return text


@dataclass(frozen=True)
class Rumqttd:
    """rumqttd in iotcore."""

    name: str = "rumqttd"

    def missing(self) -> str | None:
        """Whether the package is there for this interpreter."""
        return missing_package(PACKAGE)

    def version(self) -> str:
        """The version of the package that carries it."""
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """One listener, plain or TLS."""
        return _start(work_dir, needs)


def missing_package(package: str) -> str | None:
    """What to do when this interpreter lacks a package of requirements/bench.lock."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"run: {sys.executable} -m pip install -r requirements/bench.lock"
    return None


@contextlib.contextmanager
def _start(directory: Path, needs: Needs) -> Iterator[RunningBroker]:
    clients = make_clients(needs.publishers, needs.subscribers)
    write_clients(directory / "clients.jsonl", clients)
    tls = make_certificate(directory) if needs.transport == "tls" else None
    port = free_port()
    config = directory / "rumqttd.toml"
    config.touch(mode=0o600)
    config.write_text(config_text(clients, port, tls))
    with broker_process(
        [sys.executable, "-c", PROGRAM, str(config)],
        core=needs.core,
        env=os.environ,
        log=directory / "rumqttd.log",
        ready=lambda: accepts(HOST, port),
    ) as pid:
        endpoint = Endpoint(HOST, port, tls[0] if tls else None)
        yield RunningBroker(pid, directory / "clients.jsonl", {needs.transport: endpoint})
