"""Debian's nats-server as a peer: MQTT over JetStream, which stores QoS 1 messages in files."""

from __future__ import annotations

import contextlib
import json
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

BINARY = "nats-server"
ACKS_PENDING_MAX = 32_000
"""Messages that a subscriber may owe an acknowledgement for. A filter with `#` counts twice, and MQTT has
numbers for 65,535."""


def config_text(
    clients: list[Client], folder: Path, ports: tuple[int, int], tls: tuple[Path, Path] | None
) -> str:
    """The configuration, in the JSON that the server reads too.

    Args:
        ports: of its own protocol, and of MQTT.
        tls: certificate and key.
    """
    mqtt: dict[str, object] = {"host": HOST, "port": ports[1], "max_ack_pending": ACKS_PENDING_MAX}
    if tls is not None:
        mqtt["tls"] = {"cert_file": str(tls[0]), "key_file": str(tls[1])}
    users = [{"user": client.client_id, "password": client.password} for client in clients]
    found = {
        "server_name": "bench",
        "host": HOST,
        "port": ports[0],
        "jetstream": {"store_dir": str(folder / "jetstream")},
        "mqtt": mqtt,
        "authorization": {"users": users},
    }
    return json.dumps(found, indent=1)


@dataclass(frozen=True)
class Nats:
    """nats-server."""

    name: str = "nats-server"

    def missing(self) -> str | None:
        """Whether Debian's package is there."""
        return None if shutil.which(BINARY) else "run: apt-get install nats-server"

    def version(self) -> str:
        """As it tells."""
        return subprocess.run(
            [BINARY, "--version"], capture_output=True, text=True, check=False
        ).stdout.strip()

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """One listener, plain or TLS."""
        return _start(work_dir, needs)


@contextlib.contextmanager
def _start(directory: Path, needs: Needs) -> Iterator[RunningBroker]:
    clients = make_clients(needs.publishers, needs.subscribers)
    write_clients(directory / "clients.jsonl", clients)
    tls = make_certificate(directory) if needs.transport == "tls" else None
    own_port, port = free_port(), free_port()
    config = directory / "nats.conf"
    config.touch(mode=0o600)
    config.write_text(config_text(clients, directory, (own_port, port), tls))
    with broker_process(
        [BINARY, "--config", str(config)],
        core=needs.core,
        env=os.environ,
        log=directory / "nats.log",
        ready=lambda: accepts(HOST, port),
    ) as pid:
        endpoint = Endpoint(HOST, port, tls[0] if tls else None)
        yield RunningBroker(pid, directory / "clients.jsonl", {needs.transport: endpoint})
