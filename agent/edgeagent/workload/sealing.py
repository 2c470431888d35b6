"""Encryption of what modules keep at rest: AES-256-GCM (agent spec 7.3, rows W06 to W08).

A ciphertext is `02`, then text, then tag; the older form `01`, tag, text is read as well. The module id and
its generation are authenticated with it, so that one module cannot read what another has sealed.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgeagent.workload.errors import SealingError

IV_BYTES_MIN = 8
IV_BYTES_MAX = 128
"""What the library takes; the reference takes any length, but clients use 12 to 32 bytes."""

_TAG_BYTES = 16
_OWN_IV_BYTES = 12
_VERSION_TAG_FIRST = b"\x01"
_VERSION = b"\x02"


def module_context(module_id: str, generation_id: str) -> bytes:
    """What binds a ciphertext to a module."""
    return f"{module_id}{generation_id}".encode()


def own_context(purpose: str) -> bytes:
    """What binds a text of the agent itself; no module id begins with a zero byte."""
    return b"\0" + purpose.encode()


def encrypt(key: bytes, iv: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Seals a text.

    :param iv: 8 to 128 bytes; must not be used twice with this key, which is the caller's to see to.
    :param context: authenticated with the text and needed to open it.
    :raises ValueError: the length of `iv`.
    """
    check_iv(iv)
    return _VERSION + AESGCM(key).encrypt(iv, plaintext, context)


def decrypt(key: bytes, iv: bytes, ciphertext: bytes, context: bytes) -> bytes:
    """Opens what :func:`encrypt` sealed.

    :raises ValueError: the length of `iv`.
    :raises SealingError: malformed, or not sealed so.
    """
    check_iv(iv)
    sealed = _text_then_tag(ciphertext)
    try:
        return AESGCM(key).decrypt(iv, sealed, context)
    except InvalidTag:
        raise SealingError("the ciphertext was not encrypted by this module, or is damaged") from None


def seal(key: bytes, plaintext: bytes, purpose: str) -> bytes:
    """Seals a text of the agent itself under a fresh IV, which comes first in the answer."""
    iv = secrets.token_bytes(_OWN_IV_BYTES)
    return iv + encrypt(key, iv, plaintext, own_context(purpose))


def unseal(key: bytes, sealed: bytes, purpose: str) -> bytes:
    """Opens what :func:`seal` made.

    :raises SealingError: malformed, damaged, or sealed for another purpose.
    """
    iv, ciphertext = sealed[:_OWN_IV_BYTES], sealed[_OWN_IV_BYTES:]
    if len(iv) < _OWN_IV_BYTES:
        raise SealingError("the sealed text is cut short")
    return decrypt(key, iv, ciphertext, own_context(purpose))


def check_iv(iv: bytes) -> None:
    """:raises ValueError: a length that cannot be used."""
    if not IV_BYTES_MIN <= len(iv) <= IV_BYTES_MAX:
        raise ValueError(f"{len(iv)} bytes; expected {IV_BYTES_MIN} to {IV_BYTES_MAX}")


def _text_then_tag(ciphertext: bytes) -> bytes:
    version, rest = ciphertext[:1], ciphertext[1:]
    if len(rest) < _TAG_BYTES:
        raise SealingError("the ciphertext is cut short")
    if version == _VERSION:
        return rest
    if version == _VERSION_TAG_FIRST:
        return rest[_TAG_BYTES:] + rest[:_TAG_BYTES]
    raise SealingError(f"ciphertext of version {version[0]}; expected 1 or 2")
