"""Certificates of clients, passed on in a header by a proxy before the HTTP head (heads spec 3.5; H-020).

The proxy ends the TLS of its clients, so the hub never sees their certificates itself. It proves who it is by
a token of its own in `Authorization`; without that, nothing it says counts.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from edgehub.errors import EdgehubError
from edgehub.identity.authenticator import AuthRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgehub.common.ids import IdentityId
    from edgehub.identity.authenticator import Authenticator

CERTIFICATE_HEADER: Final = "x-ms-edge-clientcert"
CERTIFICATES_MAX: Final = 9
"""Certificates that a client may show; as in its own TLS handshake."""
HEADER_CHARS_MAX: Final = 64 * 1024
_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"


class ForwardedError(EdgehubError):
    """A header that holds no certificates."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a proxy passed on about the client of one connection.

    :ivar certificates: DER, the client's own first; empty when they do not count.
    :ivar fault: why they do not; then nobody can authenticate on that connection.
    """

    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    fault: str = ""


def parse_forwarded(text: str) -> tuple[bytes, ...]:
    """Certificates (DER) of a header: PEM, percent-encoded.

    :raises ForwardedError: none in it, too many, or not readable.
    """
    if len(text) > HEADER_CHARS_MAX:
        raise ForwardedError(f"{CERTIFICATE_HEADER} has more than {HEADER_CHARS_MAX} characters")
    blocks = unquote(text).split(_PEM_BEGIN)[1:]
    if not 0 < len(blocks) <= CERTIFICATES_MAX:
        raise ForwardedError(
            f"{CERTIFICATE_HEADER} holds {len(blocks)} PEM certificates instead of 1 to {CERTIFICATES_MAX}"
        )
    try:
        return tuple(ssl.PEM_cert_to_DER_cert(_PEM_BEGIN + _body(block)) for block in blocks)
    except ValueError:
        raise ForwardedError(f"{CERTIFICATE_HEADER} holds no PEM certificate that can be read") from None


def _body(block: str) -> str:
    body, end, _ = block.partition(_PEM_END)
    return body + end


class ForwardedCertificates:
    """Reads them, and keeps those of the open WebSockets by the address of the proxy's connection.

    :param proxy: the module whose word counts (`ApiProxyModuleId`).
    """

    def __init__(self, authenticator: Authenticator, proxy: IdentityId) -> None:
        self._authenticator = authenticator
        self._proxy = proxy
        self._by_peer: dict[str, Forwarded] = {}

    async def read(self, headers: Mapping[str, str]) -> Forwarded | None:
        """What a request carries, None for nothing."""
        text = headers.get(CERTIFICATE_HEADER)
        if not text:
            return None
        verdict = await self._authenticator.authenticate(
            AuthRequest(self._proxy, headers.get("Authorization", ""))
        )
        if not verdict.accepted:
            return Forwarded(fault=f"a certificate was forwarded, but not by {self._proxy}: {verdict.reason}")
        try:
            return Forwarded(parse_forwarded(text))
        except ForwardedError as error:
            return Forwarded(fault=str(error))

    @contextlib.contextmanager
    def held(self, peer: str, forwarded: Forwarded | None) -> Iterator[None]:
        """Keeps what was forwarded for a connection, while that is open."""
        if forwarded is None:
            yield
            return
        self._by_peer[peer] = forwarded
        try:
            yield
        finally:
            # A new connection may have the same address already.
            if self._by_peer.get(peer) is forwarded:
                del self._by_peer[peer]

    def of(self, peer: str) -> Forwarded | None:
        """What was forwarded for a connection."""
        return self._by_peer.get(peer)
