"""amqtt, a broker in Python, as a peer. It lets everybody in, and stores nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparison.logins import HOST, make_certificate, make_clients, write_clients
from comparison.processes import Endpoint, Needs, RunningBroker, accepts, broker_process, free_port
from comparison.rumqttd import missing_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

PACKAGE = "amqtt"


def config_text(port: int, tls: tuple[Path, Path] | None) -> str:
    """The configuration, in the JSON that a reader of YAML reads too.

    Args:
        tls: certificate and key.
    """
    listener: dict[str, object] = {"type": "tcp", "bind": f"{HOST}:{port}"}
    if tls is not None:
        listener |= {"ssl": True, "certfile": str(tls[0]), "keyfile": str(tls[1])}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    return json.dumps({"listeners": {"default": listener}, "plugins": plugins})


@dataclass(frozen=True)
class Amqtt:
    """amqtt."""

    name: str = "amqtt"

    def missing(self) -> str | None:
        """Whether the package is there for this interpreter."""
        return missing_package(PACKAGE)

    def version(self) -> str:
        """The version of the package."""
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """One listener, plain or TLS."""
        return _start(work_dir, needs)


@contextlib.contextmanager
def _start(directory: Path, needs: Needs) -> Iterator[RunningBroker]:
    write_clients(directory / "clients.jsonl", make_clients(needs.publishers, needs.subscribers))
    tls = make_certificate(directory) if needs.transport == "tls" else None
    port = free_port()
    config = directory / "amqtt.yaml"
    config.write_text(config_text(port, tls))
    program = "from amqtt.scripts.broker_script import main; main()"
    with broker_process(
        [sys.executable, "-c", program, "-c", str(config)],
        core=needs.core,
        env=os.environ,
        log=directory / "amqtt.log",
        ready=lambda: accepts(HOST, port),
    ) as pid:
        endpoint = Endpoint(HOST, port, tls[0] if tls else None)
        yield RunningBroker(pid, directory / "clients.jsonl", {needs.transport: endpoint})
