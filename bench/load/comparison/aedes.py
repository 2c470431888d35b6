"""aedes, a broker in JavaScript, as a peer. It keeps messages in memory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.logins import HOST, make_certificate, make_clients, write_clients
from comparison.processes import Endpoint, Needs, RunningBroker, accepts, broker_process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

FOLDER = Path(__file__).resolve().parents[1] / "aedes"
BINARY = "node"


@dataclass(frozen=True)
class Aedes:
    """aedes."""

    name: str = "aedes"
    folder: Path = FOLDER

    def missing(self) -> str | None:
        """Whether node and the package are there."""
        if shutil.which(BINARY) is None:
            return "run: apt-get install nodejs npm"
        if not self._manifest.exists():
            return f"run: npm ci --prefix {self.folder}"
        return None

    @property
    def _manifest(self) -> Path:
        return self.folder / "node_modules/aedes/package.json"

    def version(self) -> str:
        """The version of the package."""
        return f"aedes {json.loads(self._manifest.read_text())['version']}"

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """One listener, plain or TLS."""
        return _start(work_dir, needs, self.folder / "broker.mjs")


@contextlib.contextmanager
def _start(directory: Path, needs: Needs, program: Path) -> Iterator[RunningBroker]:
    clients = make_clients(needs.publishers, needs.subscribers)
    write_clients(directory / "clients.jsonl", clients)
    tls = make_certificate(directory) if needs.transport == "tls" else None
    port, settings = free_port(), directory / "aedes.json"
    found: dict[str, object] = {"host": HOST, "port": port}
    found["users"] = {client.client_id: client.password for client in clients}
    if tls is not None:
        found |= {"cert": str(tls[0]), "key": str(tls[1])}
    settings.touch(mode=0o600)
    settings.write_text(json.dumps(found))
    with broker_process(
        [BINARY, str(program), str(settings)],
        core=needs.core,
        env=os.environ,
        log=directory / "aedes.log",
        ready=lambda: accepts(HOST, port),
    ) as pid:
        endpoint = Endpoint(HOST, port, tls[0] if tls else None)
        yield RunningBroker(pid, directory / "clients.jsonl", {needs.transport: endpoint})
