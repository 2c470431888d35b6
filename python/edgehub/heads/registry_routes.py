"""Modules of devices below, for their identity services, over HTTPS (heads spec 3.4; H-016, H-017).

Nothing of it is known here: each call goes to the parent hub as a call of this edge device on behalf of the
other, with the chain that the scope cache knows, and its answer comes back as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from aiohttp import web

from edgehub.common.ids import IdentityId
from edgehub.common.texts import is_utf8
from edgehub.errors import EdgehubError
from edgehub.heads.rest import RefusalError, json_answer, read_body
from edgehub.identity.scope_answers import OutsideSubtreeError
from edgehub.protocol.authchain import AuthChainError, parse_chain
from edgehub.protocol.child_requests import (
    DELETE_MODULE,
    GET_MODULE,
    LIST_MODULES,
    PUT_MODULE,
    REGISTRY_ERROR,
    ChildRequestError,
    ModuleDelete,
    ModuleGet,
    ModulePut,
    ModulesList,
    RegistryCall,
    check_module,
    delete_call,
    encode_error,
    get_call,
    list_call,
    parse_child_request,
    put_call,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.heads.child_access import ChildAccess
    from edgehub.identity.scope_answers import ScopeAnswers

DEVICE: Final = "/devices/{device}"
MODULE: Final = f"{DEVICE}/modules/{{module}}"
ERROR_CODE_HEADER: Final = "iothub-errorcode"
UNAUTHORIZED: Final = 401

CallMaker: TypeAlias = "Callable[[web.Request, str], Awaitable[RegistryCall]]"
"""Makes what goes to the parent hub, of a request and the device that asks."""


class ParentRegistry(Protocol):
    """The way to the registry, through the parent hub."""

    async def call(self, call: RegistryCall) -> tuple[int, bytes]:
        """Status and body of the answer, whatever it is.

        :raises EdgehubError: there is none.
        """
        ...


class RegistryRoutes:
    """All routes of 3.4. Direct ones are asked by a device for its own modules, nested ones by the `$edgeHub`
    of an edge device for those of devices below it.

    :param registry: None without a parent hub.
    """

    def __init__(self, access: ChildAccess, answers: ScopeAnswers, registry: ParentRegistry | None) -> None:
        self._access = access
        self._answers = answers
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """For `HttpHead.add_routes`."""
        return [
            web.put(MODULE, partial(self._direct, self._put)),
            web.get(MODULE, partial(self._direct, self._get)),
            web.delete(MODULE, partial(self._direct, self._delete)),
            web.get(f"{DEVICE}/modules", self._list),
            web.put(f"{MODULE}/{PUT_MODULE}", partial(self._nested, self._nested_put)),
            web.post(f"{MODULE}/{GET_MODULE}", partial(self._nested, self._nested_get)),
            web.post(f"{MODULE}/{LIST_MODULES}", partial(self._nested, self._nested_list)),
            web.post(f"{MODULE}/{DELETE_MODULE}", partial(self._nested, self._nested_delete)),
        ]

    # Direct

    async def _put(self, request: web.Request, device: str) -> RegistryCall:
        body = await read_body(request)
        check_module(body, device, request.match_info["module"])
        return put_call(await self._own_chain(device), body, _if_match(request))

    async def _get(self, request: web.Request, device: str) -> RegistryCall:
        return get_call(await self._own_chain(device), request.match_info["module"])

    async def _delete(self, request: web.Request, device: str) -> RegistryCall:
        return delete_call(await self._own_chain(device), request.match_info["module"])

    async def _list_own(self, request: web.Request, device: str) -> RegistryCall:
        return list_call(await self._own_chain(device))

    async def _list(self, request: web.Request) -> web.Response:
        if not request.query.get("api-version"):
            # Before anything else: identity services recognise a hub by this answer.
            answer = _error(400, "the query has no api-version")
            answer.headers[ERROR_CODE_HEADER] = "InvalidProtocolVersion"
            return answer
        return await self._direct(self._list_own, request)

    async def _direct(self, make: CallMaker, request: web.Request) -> web.Response:
        """As the device itself; 401 has no body."""
        device = request.match_info["device"]
        try:
            await self._access.authenticate(request, IdentityId(device))
            with self._access.place(device):
                return await self._forward(await make(request, device))
        except (RefusalError, ChildRequestError, AuthChainError, OutsideSubtreeError) as error:
            answer = self._refuse(request, error)
            return web.Response(status=UNAUTHORIZED) if answer.status == UNAUTHORIZED else answer

    # Nested

    async def _nested_put(self, request: web.Request, actor: str) -> RegistryCall:
        asked = parse_child_request(await read_body(request), ModulePut)
        module = bytes(asked.module)
        check_module(module, parse_chain(asked.auth_chain).target_device, None)
        return put_call(await self._chain(asked.auth_chain, actor), module, _if_match(request))

    async def _nested_get(self, request: web.Request, actor: str) -> RegistryCall:
        asked = parse_child_request(await read_body(request), ModuleGet)
        return get_call(await self._chain(asked.auth_chain, actor), asked.target_module_id)

    async def _nested_list(self, request: web.Request, actor: str) -> RegistryCall:
        asked = parse_child_request(await read_body(request), ModulesList)
        return list_call(await self._chain(asked.auth_chain, actor))

    async def _nested_delete(self, request: web.Request, actor: str) -> RegistryCall:
        asked = parse_child_request(await read_body(request), ModuleDelete)
        return delete_call(await self._chain(asked.auth_chain, actor), asked.module_id)

    async def _nested(self, make: CallMaker, request: web.Request) -> web.Response:
        """As an edge device above."""
        try:
            actor = await self._access.child_of(request)
            with self._access.place(actor):
                return await self._forward(await make(request, actor))
        except (RefusalError, ChildRequestError, AuthChainError, OutsideSubtreeError) as error:
            return self._refuse(request, error)

    # Both

    async def _own_chain(self, device: str) -> str:
        return ";".join(await self._answers.way_to(IdentityId(device), None, device))

    async def _chain(self, claimed: str, actor: str) -> str:
        device = IdentityId(parse_chain(claimed).target_device)
        return ";".join(await self._answers.way_to(device, claimed, actor))

    async def _forward(self, call: RegistryCall) -> web.Response:
        """Asks the parent hub; 500 when it does not answer (heads spec 9.3)."""
        if self._registry is None:
            return _error(500, "this edge device has no parent hub")
        try:
            status, body = await self._registry.call(call)
        except EdgehubError as error:
            return _error(500, str(error))
        return json_answer(status, body) if body else web.Response(status=status)

    def _refuse(self, request: web.Request, error: EdgehubError) -> web.Response:
        """What was told of already when it was raised is not told again."""
        if isinstance(error, RefusalError):
            return _error(error.status, str(error))
        self._access.refused(request, error)
        return _error(UNAUTHORIZED if isinstance(error, OutsideSubtreeError) else 400, str(error))


def _if_match(request: web.Request) -> str | None:
    """The header to pass on.

    :raises ChildRequestError: it cannot be passed on.
    """
    text = request.headers.get("If-Match")
    if text is not None and not is_utf8(text):
        raise ChildRequestError("If-Match is not UTF-8 text")
    return text


def _error(status: int, text: str) -> web.Response:
    return json_answer(status, encode_error(REGISTRY_ERROR, text))
