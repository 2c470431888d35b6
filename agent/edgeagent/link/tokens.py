"""Shared access signature tokens, signed by whoever holds the key.

```
SharedAccessSignature sr={audience}&sig={signature}&se={expiry}
signature = base64(HMAC-SHA256(key, sr "\n" se))      over sr as it stands in the token
```
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import quote

from edgeagent.link.errors import LinkSettingsError

Signer: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""HMAC-SHA256 of some bytes under a key; the key may be far away (workload API)."""

_PREFIX: Final = "SharedAccessSignature"


def key_signer(key_base64: str) -> Signer:
    """A signer with a key at hand.

    :raises LinkSettingsError: the key is not base64; it is not in the text.
    """
    try:
        key = base64.b64decode(key_base64, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise LinkSettingsError("the key is not base64, or empty")

    async def sign(data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    return sign


async def make_token(audience: str, expires_at: int, sign: Signer) -> str:
    """A token.

    :param audience: not encoded, such as `hub/devices/d1`.
    :param expires_at: Unix time in seconds.
    """
    resource = quote(audience, safe="")
    signature = await sign(f"{resource}\n{expires_at}".encode())
    encoded = quote(base64.b64encode(signature), safe="")
    return f"{_PREFIX} sr={resource}&sig={encoded}&se={expires_at}"
