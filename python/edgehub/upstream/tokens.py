"""Tokens of our own module: made by whoever holds the key, kept until half their life is over."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from edgehub.protocol.authchain import EDGE_HUB_MODULE
from edgehub.protocol.sas import assemble_token, device_audience, text_to_sign

TOKEN_LIFE_S: Final = 3600
Signer = Callable[[bytes], Awaitable[bytes]]
"""HMAC-SHA256 of some bytes under our module's key; may be far away (workload API)."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its end.

    :ivar expires_at: Unix time in seconds.
    """

    text: str = field(repr=False)
    expires_at: float


class TokenProvider(Protocol):
    """Gives tokens for our own identity."""

    @property
    def audience(self) -> str:
        """What the tokens are for."""
        ...

    async def get(self) -> Token:
        """A token with more than half of its life left.

        :raises EdgehubError: no signature could be had.
        """
        ...

    def drop(self) -> None:
        """The parent refused the token: the next `get` makes a new one."""
        ...


class SignedTokens:
    """Tokens from a signer.

    :param hub_hostname: host in the audience.
    :param wall: Unix time.
    """

    def __init__(
        self,
        hub_hostname: str,
        device_id: str,
        sign: Signer,
        wall: Callable[[], float],
        life_s: int = TOKEN_LIFE_S,
    ) -> None:
        self.audience = device_audience(hub_hostname, device_id, EDGE_HUB_MODULE)
        self._sign = sign
        self._wall = wall
        self._life_s = life_s
        self._token: Token | None = None

    async def get(self) -> Token:
        """The kept token, or a new one once less than half of its life is left."""
        now = self._wall()
        if self._token is None or self._token.expires_at - now < self._life_s / 2:
            expires_at = int(now) + self._life_s
            signature = await self._sign(text_to_sign(self.audience, expires_at).encode())
            text = assemble_token(self.audience, expires_at, base64.b64encode(signature).decode())
            self._token = Token(text, float(expires_at))
        return self._token

    def drop(self) -> None:
        """Forgets the kept token."""
        self._token = None
