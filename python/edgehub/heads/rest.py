"""What all REST routes of the HTTP head share: bodies in, JSON out, refusals on the way (heads spec 3)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgehub.errors import EdgehubError
from edgehub.identity.authenticator import AuthRequest

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId
    from edgehub.heads.forwarded import ForwardedCertificates

BODY_WAIT_S: Final = 30.0
"""Time a client has to send the body of its request."""
TOKEN_START: Final = "SharedAccessSignature"
TOKEN_MISSING: Final = "Authorization header missing"


class RefusalError(EdgehubError):
    """A request is answered with an error.

    :ivar status: of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_body(request: web.Request) -> bytes:
    """The whole body.

    :raises RefusalError: 408, it did not come in time.
    :raises web.HTTPRequestEntityTooLarge: it is larger than the head takes.
    """
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            return await request.read()
    except TimeoutError:
        raise RefusalError(408, f"the body did not come within {BODY_WAIT_S:.0f} s") from None


def token_of(request: web.Request) -> str | None:
    """The token of a request, None without; one in the query does not count (heads spec 3.2)."""
    token = request.headers.get("Authorization")
    return token if token is not None and token.startswith(TOKEN_START) else None


async def credential_of(
    request: web.Request, identity: IdentityId, forwarded: ForwardedCertificates | None
) -> AuthRequest:
    """What a request shows for an identity: a certificate that a proxy passes on, or else its token (heads
    spec 3.2, 3.5; H-020).

    :param forwarded: reads such certificates; None: they are not looked at.
    :raises RefusalError: 401, it shows nothing, or passes on a certificate without being the proxy.
    """
    passed_on = None if forwarded is None else await forwarded.read(request.headers)
    if passed_on is not None:
        if passed_on.fault:
            raise RefusalError(401, passed_on.fault)
        return AuthRequest(identity, "", certificates=passed_on.certificates)
    token = token_of(request)
    if token is None:
        raise RefusalError(401, TOKEN_MISSING)
    return AuthRequest(identity, token)


def json_answer(status: int, body: bytes) -> web.Response:
    """An answer with JSON."""
    return web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
