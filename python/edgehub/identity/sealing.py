"""Encryption of secrets at rest (I-018): AES-256-GCM under a key derived from the hub's own key.

Whoever holds the data folder but not the hub's key learns nothing; whoever rotates the hub's key loses
only a cache. Sealed form: version byte 1, 12 bytes nonce, ciphertext with tag. The place of a value
(bucket and key) is authenticated, so sealed values cannot be swapped.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from edgehub._core import aes_gcm_open, aes_gcm_seal
from edgehub.errors import EdgehubError

SEALING_CONTEXT = b"edgehub state sealing key v1"
"""What the hub's key signs to give the secret that sealing keys are derived from."""

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class SealError(EdgehubError):
    """A sealed value that cannot be opened: another key, another place, or damage."""


def hkdf_sha256(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF with SHA-256 and an empty salt (RFC 5869), for up to 255 blocks of 32 bytes."""
    pseudo_random_key = hmac.digest(bytes(hashlib.sha256().digest_size), secret, "sha256")
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(pseudo_random_key, block + info + bytes([counter]), "sha256")
        output += block
        counter += 1
    return output[:length]


class Sealer:
    """Seals and opens values. `secret` is at least 16 bytes that only this hub can produce."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise SealError("the sealing secret needs at least 16 bytes")
        self._key = hkdf_sha256(secret, SEALING_CONTEXT)

    def seal(self, value: bytes, place: str) -> bytes:
        """Encrypts a value for one place."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + aes_gcm_seal(self._key, nonce, value, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypts what `seal` made for the same place.

        :raises SealError: it was not made with this key for this place.
        """
        if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise SealError(f"the value of {place} is not in a known sealed form")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        value = aes_gcm_open(self._key, nonce, ciphertext, place.encode())
        if value is None:
            raise SealError(f"the value of {place} was sealed with another key, or is damaged")
        return value
