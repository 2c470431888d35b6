"""Certificates of a test hub, made with the openssl command."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_certificates(folder: Path) -> None:
    """Writes a CA and a server certificate for localhost: ca.pem, hub.pem, hub.key."""
    script = """
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj /CN=test-ca -days 2 -out ca.pem
    openssl ecparam -name prime256v1 -genkey -noout -out hub.key
    openssl req -new -key hub.key -subj /CN=localhost -out hub.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
    openssl x509 -req -in hub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out hub.pem
    """
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)
