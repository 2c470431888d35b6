"""What lets a link be for an identity: a token of the connection, its certificate, or an auth chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iothub.amqp.tokens import TokenKey, TokenRing, token_key
from iothub.auth import access_denied, read_chain

if TYPE_CHECKING:
    from edgehub.protocol.amqp_engine import AmqpEngine
    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.protocol.authchain import AuthChain
    from iothub.auth import Authorizer
    from iothub.connections import IdentityKey

CERTIFICATE_MECHANISM: Final = "EXTERNAL"
"""Offered to clients that showed a certificate in their TLS handshake."""
_CHAIN_PROPERTY: Final = "com.microsoft:auth-chain"


@dataclass(frozen=True, slots=True)
class Access:
    """What a link lives by.

    :ivar token: of the connection.
    :ivar chain: from the identity to the edge device whose token it is; None: the token speaks for it.
    """

    token: TokenKey
    chain: AuthChain | None = None


class LinkAccess:
    """Judges links of one connection.

    :param certificate: what the client showed in its TLS handshake (DER), if anything.
    """

    def __init__(
        self, authorizer: Authorizer, tokens: TokenRing, engine: AmqpEngine, certificate: bytes | None
    ) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._engine = engine
        self._certificate = certificate

    async def judge(self, link: AmqpLink, key: IdentityKey) -> Access:
        """What lets this link be for this identity.

        :raises HubError: 401002 or 401003.
        """
        chain_text = link.remote_properties.get(_CHAIN_PROPERTY)
        if isinstance(chain_text, str) and chain_text:
            return await self._by_chain(chain_text, key)
        token = self._tokens.for_identity(*key)
        if token is None:
            token = await self._by_certificate(key)
        return Access(token)

    async def _by_chain(self, text: str, key: IdentityKey) -> Access:
        chain = read_chain(text)
        if not chain.is_for(*key):
            raise access_denied("The auth chain is for another identity.")
        token = self._tokens.for_chain(chain)
        if token is None:
            raise access_denied(f"The connection has no token of {chain.actor}/$edgeHub.")
        await self._authorizer.verify_chain(chain)
        return Access(token, chain)

    async def _by_certificate(self, key: IdentityKey) -> TokenKey:
        """For a client that came with EXTERNAL, or without SASL; any other means to put a token (A-039)."""
        if self._certificate is None or self._engine.sasl_mechanism not in (None, CERTIFICATE_MECHANISM):
            raise access_denied("The connection has no token for this identity.")
        principal = await self._authorizer.certificate_principal(self._certificate, *key)
        if not self._tokens.put(principal):
            raise access_denied("There are too many identities on this connection.")
        return token_key(principal)
