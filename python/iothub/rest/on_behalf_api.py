"""Modules of devices below an edge device, which acts for their identity services (section 1.8.2, row 75)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from edgehub.protocol.child_requests import DELETE_MODULE, GET_MODULE, LIST_MODULES, PUT_MODULE
from iothub import jsonio
from iothub.errors import argument_invalid
from iothub.registry.model import SYSTEM_MODULES, Module, parse_module
from iothub.rest.edge_actor import chain_of, edge_actor
from iothub.rest.registry_api import find_module, json_response, keys_alone, system_module_error

if TYPE_CHECKING:
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router


class OnBehalfApi:
    """Handlers under `/devices/{edge}/modules/$edgeHub/`. What a device may do with its own modules the edge
    devices above may do for it."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._registry = services.registry

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        base = "/devices/{}/modules/{}/"
        router.add("PUT", base + PUT_MODULE, self.put)
        router.add("POST", base + GET_MODULE, self.get)
        router.add("POST", base + LIST_MODULES, self.list_modules)
        router.add("POST", base + DELETE_MODULE, self.delete)

    async def put(self, call: Call) -> web.Response:
        """Creates without `If-Match`, updates with it. Of system modules only the keys change."""
        document, device_id = await self._request(call)
        wanted = document.get("module")
        if not isinstance(wanted, dict):
            raise argument_invalid("module must be an object.")
        request = parse_module(device_id, _text(wanted, "moduleId"), wanted)
        if call.if_match is not None:
            request = await keys_alone(self._registry, request)
        module = await self._registry.put_module(request, call.if_match)
        return json_response(self._view(module), etag=module.etag)

    async def get(self, call: Call) -> web.Response:
        """One module."""
        document, device_id = await self._request(call)
        module = await find_module(self._registry, device_id, _text(document, "targetModuleId"))
        return json_response(self._view(module), etag=module.etag)

    async def list_modules(self, call: Call) -> web.Response:
        """All modules."""
        _, device_id = await self._request(call)
        return json_response([self._view(module) for module in await self._registry.modules(device_id)])

    async def delete(self, call: Call) -> web.Response:
        """Removes a module."""
        document, device_id = await self._request(call)
        module_id = _text(document, "moduleId")
        if module_id in SYSTEM_MODULES:
            raise system_module_error(module_id)
        await self._registry.delete_module(device_id, module_id, call.if_match)
        return web.Response(status=204)

    async def _request(self, call: Call) -> tuple[dict[str, Any], str]:
        """The body, and the device at the beginning of its chain.

        :raises HubError: 400004, 400006, 401002.
        """
        edge = await edge_actor(self._services, call)
        document = jsonio.parse_object(await call.request.read(), "the request")
        chain = await chain_of(self._services, document, edge)
        return document, chain.target_device

    def _view(self, module: Module) -> dict[str, Any]:
        connected = self._services.connections.is_connected(module.device_id, module.module_id)
        return module.view(connected=connected)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise argument_invalid(f"{name} must be text.")
    return value
