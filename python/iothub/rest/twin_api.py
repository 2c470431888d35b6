"""Twins over REST (section 2.3, rows 10-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iothub import jsonio
from iothub.errors import device_not_found, module_not_found
from iothub.policies import Permission
from iothub.rest.registry_api import json_response
from iothub.twins.model import Twin, parse_twin_request

if TYPE_CHECKING:
    from aiohttp import web

    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router


class TwinApi:
    """Handlers for `/twins`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._twins = services.twins

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        for pattern in ("/twins/{}", "/twins/{}/modules/{}"):
            router.add("GET", pattern, self.get)
            router.add("PATCH", pattern, self.patch)
            router.add("PUT", pattern, self.replace)

    async def get(self, call: Call) -> web.Response:
        """The whole twin."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        return await self._answer(call, await self._twins.get(*_key(call)))

    async def patch(self, call: Call) -> web.Response:
        """Merge-patch of tags and desired properties."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        request = parse_twin_request(jsonio.parse_object(await call.request.read(), "the twin"))
        return await self._answer(call, await self._twins.patch(*_key(call), request, call.if_match))

    async def replace(self, call: Call) -> web.Response:
        """Replacement of the sections in the body."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        request = parse_twin_request(jsonio.parse_object(await call.request.read(), "the twin"))
        return await self._answer(call, await self._twins.replace(*_key(call), request, call.if_match))

    async def _answer(self, call: Call, twin: Twin) -> web.Response:
        device_id, module_id = _key(call)
        device = await self._services.registry.device(device_id)
        if device is None:
            raise device_not_found(device_id)
        module = None if module_id is None else await self._services.registry.module(device_id, module_id)
        if module_id is not None and module is None:
            raise module_not_found(device_id, module_id)
        connected = self._services.connections.is_connected(device_id, module_id)
        counts = await self._services.c2d.counts([device_id]) if module is None else {}
        view = twin.service_view(device, module, connected=connected, messages=counts.get(device_id, 0))
        return json_response(view, etag=twin.etag)


def _key(call: Call) -> tuple[str, str | None]:
    return call.ids[0], call.ids[1] if len(call.ids) > 1 else None
