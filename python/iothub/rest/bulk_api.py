"""Many identities in one request over REST (section 2.3, rows 4 and 26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from iothub import jsonio
from iothub.errors import ERROR_HEADER, ErrorCode
from iothub.policies import Permission
from iothub.registry.bulk import BulkRegistry, BulkResult, parse_renewal, read_entries
from iothub.rest.registry_api import json_response

if TYPE_CHECKING:
    from aiohttp import web

    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router

HTTP_MULTI_STATUS: Final = 207


class BulkApi:
    """Handlers for `POST /devices` and `POST /devices/keys/regenerate`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._bulk = BulkRegistry(services.registry, services.twins)

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        router.add("POST", "/devices", self.change)
        router.add("POST", "/devices/keys/regenerate", self.renew_keys)

    async def change(self, call: Call) -> web.Response:
        """Creates, updates and deletes; 200 when every entry was done, else 400 with the list of errors."""
        await self._services.require(call.request, Permission.REGISTRY_WRITE)
        entries = read_entries(jsonio.parse_array(await call.request.read(), "the list of devices"))
        result = await self._bulk.apply(entries)
        return _response(result.view(), result, done=0)

    async def renew_keys(self, call: Call) -> web.Response:
        """New keys; 200 for all, 207 for some, 400 for none."""
        await self._services.require(call.request, Permission.REGISTRY_WRITE)
        renewal = parse_renewal(jsonio.parse_object(await call.request.read(), "the request"))
        renewed, result = await self._bulk.renew_keys(renewal)
        view = {"policyKey": renewal.choice.value, "rotatedKeys": renewed, "errors": result.errors}
        return _response(view, result, done=len(renewed))


def _response(view: dict[str, Any], result: BulkResult, *, done: int) -> web.Response:
    """:param done: entries to tell of beside the errors."""
    response = json_response(view)
    if result.errors and done:
        response.set_status(HTTP_MULTI_STATUS)
    elif result.errors:
        code = ErrorCode.BulkRegistryOperationFailure
        response.set_status(code.http_status)
        response.headers[ERROR_HEADER] = code.name
    return response
