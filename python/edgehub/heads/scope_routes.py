"""The device scope for child edge devices over HTTPS (heads spec 3.3; H-011 to H-015)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp import web

from edgehub.common.ids import IdentityId
from edgehub.heads.rest import RefusalError, json_answer, read_body
from edgehub.identity.scope_answers import OutsideSubtreeError, ScopeUnknownError
from edgehub.protocol.authchain import AuthChainError
from edgehub.protocol.child_requests import (
    SCOPE_ERROR,
    ChildRequestError,
    ScopeListing,
    ScopeLookup,
    encode_error,
    parse_child_request,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.errors import EdgehubError
    from edgehub.heads.child_access import ChildAccess
    from edgehub.identity.scope_answers import ScopeAnswers

BASE: Final = "/devices/{device}/modules/{module}"
STATUS: Final[dict[type[EdgehubError], int]] = {
    ChildRequestError: 400,
    AuthChainError: 400,
    OutsideSubtreeError: 401,
    ScopeUnknownError: 503,
}
"""What cannot be read, what is none of the child's business, and what only the parent hub could know."""

Answer: TypeAlias = "Callable[[str, bytes], Awaitable[bytes]]"
"""Makes the answer to an edge device and its body."""


class ScopeRoutes:
    """Both routes."""

    def __init__(self, access: ChildAccess, answers: ScopeAnswers) -> None:
        self._access = access
        self._answers = answers

    def routes(self) -> list[web.RouteDef]:
        """For `HttpHead.add_routes`."""
        return [
            web.post(f"{BASE}/devicesAndModulesInTargetDeviceScope", partial(self._serve, self._listing)),
            web.post(f"{BASE}/getDeviceAndModuleOnBehalfOf", partial(self._serve, self._lookup)),
        ]

    async def _listing(self, actor: str, body: bytes) -> bytes:
        return await self._answers.listing(actor, parse_child_request(body, ScopeListing).auth_chain)

    async def _lookup(self, actor: str, body: bytes) -> bytes:
        asked = parse_child_request(body, ScopeLookup)
        target = IdentityId(asked.target_device_id, asked.target_module_id or None)
        return await self._answers.lookup(actor, target, asked.auth_chain)

    async def _serve(self, answer: Answer, request: web.Request) -> web.Response:
        try:
            actor = await self._access.child_of(request)
            with self._access.place(actor):
                return json_answer(200, await answer(actor, await read_body(request)))
        except RefusalError as error:
            return _error(error.status, error)
        except tuple(STATUS) as error:
            self._access.refused(request, error)
            return _error(STATUS[type(error)], error)


def _error(status: int, error: Exception) -> web.Response:
    return json_answer(status, encode_error(SCOPE_ERROR, str(error)))
