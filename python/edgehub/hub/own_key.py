"""Signing with the hub's own key, which is either in the connection string or behind the workload API."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from pathlib import Path

    from edgehub.identity.workload import WorkloadClient


SECRET_BYTES: Final = 32


class SecretFileError(EdgehubError):
    """The file with the secret of this hub cannot be used."""


class OwnKey(Protocol):
    """Makes HMAC-SHA256 signatures under the key of `$edgeHub`."""

    async def sign(self, data: bytes) -> bytes:
        """The signature of `data`.

        :raises EdgehubError: the key cannot be reached.
        """
        ...


class LocalKey:
    """A key from the connection string."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")


class WorkloadKey:
    """A key that never leaves the agent."""

    def __init__(self, client: WorkloadClient) -> None:
        self._client = client

    async def sign(self, data: bytes) -> bytes:
        return await self._client.sign(data)


def secret_of_file(path: Path) -> bytes:
    """The secret of a hub without key, made at its first start; for its owner's eyes alone.

    :raises SecretFileError: it cannot be read or written, or is not what this function wrote.
    """
    try:
        if not path.exists():
            _write_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        raise SecretFileError(f"the secret {path} cannot be used: {error.strerror}") from None
    if len(secret) != SECRET_BYTES:
        raise SecretFileError(
            f"the secret {path} has {len(secret)} bytes instead of {SECRET_BYTES}; without it, what it "
            "encrypted (twins of clients) is lost: remove the file to start anew"
        )
    return secret


def _write_secret(path: Path) -> None:
    """Whole or not at all, also at power loss."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(os.urandom(SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
