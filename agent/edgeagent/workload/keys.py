"""The two master keys of the device, and what is derived from them (agent spec 7.3, row X01).

Every module key follows from the master identity key, the module id and its generation: nothing has to be
stored per module, and a module that is made anew gets new keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.files import create_secret, make_folder, read_limited
from edgeagent.workload.errors import KeyFileError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
IDENTITY_KEY_FILE = "master-identity-key"
ENCRYPTION_KEY_FILE = "master-encryption-key"
_OPEN_TO_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """32 random bytes each; in no text of it."""

    identity: bytes = field(repr=False)
    encryption: bytes = field(repr=False)

    def module_key(self, module_id: str, generation_id: str, use: str = "primary") -> bytes:
        """Key of a module identity.

        :param module_id: with `$` for system modules.
        :param use: `primary` or `secondary`.
        """
        return sign(self.identity, f"{module_id}:{generation_id}:{use}".encode())

    def module_keys(self, module_id: str, generation_id: str) -> tuple[str, str]:
        """Primary and secondary key in base64, as the hub stores them."""
        primary = self.module_key(module_id, generation_id)
        secondary = self.module_key(module_id, generation_id, "secondary")
        return base64.b64encode(primary).decode(), base64.b64encode(secondary).decode()


def sign(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(key, data, hashlib.sha256).digest()


def load_or_create_keys(folder: Path) -> MasterKeys:
    """The master keys in a folder; they are made once and never again.

    A key that is there but cannot be used is an error, never replaced: the hub knows the keys derived from
    it, and files are encrypted with it.

    :raises KeyFileError: a file cannot be read, made, or does not have 32 bytes.
    """
    try:
        make_folder(folder)
        return MasterKeys(
            _load_or_create(folder / IDENTITY_KEY_FILE), _load_or_create(folder / ENCRYPTION_KEY_FILE)
        )
    except OSError as error:
        raise KeyFileError(f"keys in {folder}: {error}") from None


def _load_or_create(path: Path) -> bytes:
    try:
        return _read(path)
    except FileNotFoundError:
        create_secret(path, secrets.token_bytes(KEY_BYTES))
        return _read(path)


def _read(path: Path) -> bytes:
    try:
        key = read_limited(path, KEY_BYTES)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path}: expected {KEY_BYTES} bytes; put back the file that was here")
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        path.chmod(0o600)
    return key
