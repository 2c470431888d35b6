"""What a peer needs to know its clients, and what clients need to know it: passwords and a certificate."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Client:
    """One client of the run and its credentials."""

    role: str
    client_id: str
    password: str
    username: str | None = None
    """The client identifier when not given."""

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
                "username": self.username or self.client_id,
                "password": self.password,
                "topic" if self.role == "pub" else "filter": self.topic,
            }
        )


def make_clients(publishers: int, subscribers: int) -> list[Client]:
    """Clients with fresh passwords."""
    named = [("pub", f"pub{i}") for i in range(publishers)] + [("sub", f"sub{i}") for i in range(subscribers)]
    return [Client(role, name, secrets.token_urlsafe(24)) for role, name in named]


def write_clients(path: Path, clients: list[Client]) -> None:
    """The client file of the generator."""
    path.write_text("".join(client.line() + "\n" for client in clients))


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
