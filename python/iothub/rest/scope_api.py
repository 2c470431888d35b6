"""The scope API for edge hubs, flat and nested (section 1.7): who is below me, and with which keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from edgehub.protocol.authchain import EDGE_HUB_MODULE, AuthChain
from iothub import jsonio
from iothub.auth import Principal, access_denied, read_chain
from iothub.errors import argument_invalid, device_not_found, module_not_found
from iothub.registry.model import Device, Module, scope_of
from iothub.rest.registry_api import json_response

if TYPE_CHECKING:
    from aiohttp import web

    from edgehub.common.json_types import Json
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router

PAGE_DEFAULT: Final = 10
PAGE_MAX: Final = 100
_LISTING_VERSION: Final = "2018-08-30-preview"


class ScopeApi:
    """Handlers under `/devices/{edge}/modules/$edgeHub/`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._registry = services.registry

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        base = "/devices/{}/modules/{}/"
        router.add("GET", base + "devicesAndModulesInDeviceScope", self.flat_listing)
        router.add("GET", base + "deviceAndModuleInDeviceScope", self.flat_single)
        router.add("POST", base + "devicesAndModulesInTargetDeviceScope", self.nested_listing)
        router.add("POST", base + "getDeviceAndModuleOnBehalfOf", self.nested_single)

    async def _actor(self, call: Call) -> Device:
        """The edge device whose `$edgeHub` asks.

        :raises HubError: 401002.
        """
        device_id, module_id = call.ids
        principal = await self._services.device_principal(call.request, device_id)
        if module_id != EDGE_HUB_MODULE or not _is_edge_hub(principal, device_id):
            raise access_denied(f"{principal.label} may not read the scope of {device_id}.")
        identity = await self._registry.identity(device_id, None)
        if identity is None or not identity.device.iot_edge:
            raise access_denied(f"{device_id} is not an edge device.")
        return identity.device

    # ---- flat

    async def flat_listing(self, call: Call) -> web.Response:
        """Leaf devices in the scope, and the edge's own device and modules, a page at a time."""
        edge = await self._actor(call)
        size = _page_size(call.request.query.get("deviceCount"))
        token = call.request.query.get("continuationToken") or ""
        listing = await self._page(edge, token, size, leaves_only=True)
        link = None
        if listing.continuation is not None:
            path = f"/devices/{quote(edge.device_id, safe='')}/modules/{quote(EDGE_HUB_MODULE, safe='')}"
            query = f"deviceCount={size}&continuationToken={quote(listing.continuation, safe='')}"
            link = f"{path}/devicesAndModulesInDeviceScope?{query}&api-version={_LISTING_VERSION}"
        return json_response(self._result(listing.devices, listing.modules, link))

    async def flat_single(self, call: Call) -> web.Response:
        """One identity, if it is the edge itself, one of its modules, or a device directly below."""
        edge = await self._actor(call)
        target = call.request.query.get("targetDeviceId") or ""
        module_id = call.request.query.get("targetModuleId") or None
        return await self._single(
            edge, target, module_id, AuthChain(target, module_id, (target, edge.device_id))
        )

    # ---- nested

    async def nested_listing(self, call: Call) -> web.Response:
        """Immediate children of the target edge, and the target itself with its modules."""
        edge = await self._actor(call)
        document = jsonio.parse_object(await call.request.read(), "the request")
        chain = await self._chain(document, edge)
        if chain.target_module is not None:
            raise argument_invalid("authChain must begin with a device.")
        target = await self._services.authorizer.require_identity(chain.target_device, None)
        size = document.get("pageSize")
        link = document.get("continuationLink")
        token = _token_of(link) if isinstance(link, str) else ""
        listing = await self._page(target.device, token, _page_size(size), leaves_only=False)
        found = listing.continuation
        next_link = None if found is None else f"/{quote(found, safe='')}"
        return json_response(self._result(listing.devices, listing.modules, next_link))

    async def nested_single(self, call: Call) -> web.Response:
        """One identity somewhere below the asking edge."""
        edge = await self._actor(call)
        document = jsonio.parse_object(await call.request.read(), "the request")
        target, module_id = document.get("targetDeviceId"), document.get("targetModuleId") or None
        if not isinstance(target, str) or not target or not isinstance(module_id, str | None):
            raise argument_invalid("targetDeviceId and targetModuleId must be text.")
        await self._chain(document, edge)
        path = await self._path_to(target, edge)
        return await self._single(edge, target, module_id, AuthChain(target, module_id, path))

    async def _chain(self, document: dict[str, Any], edge: Device) -> AuthChain:
        text = document.get("authChain")
        if not isinstance(text, str):
            raise argument_invalid("authChain must be text.")
        chain = read_chain(text)
        if chain.actor != edge.device_id:
            raise access_denied("The auth chain must end with the edge device that asks.")
        await self._services.authorizer.verify_chain(chain)
        return chain

    async def _path_to(self, target: str, edge: Device) -> tuple[str, ...]:
        """Devices from the target up to the asking edge, as the registry knows them.

        :raises HubError: 401002 when the edge is not above it; 404001.
        """
        found = await self._registry.identity(target, None)
        if found is None:
            raise device_not_found(target)
        path = [target]
        device: Device | None = found.device
        while device is not None and device.device_id != edge.device_id and len(path) <= 8:
            device = await self._registry.parent(device)
            if device is not None:
                path.append(device.device_id)
        if path[-1] != edge.device_id:
            raise access_denied(f"{target} is not below {edge.device_id}.")
        return tuple(path)

    # ---- both

    async def _single(
        self, edge: Device, target: str, module_id: str | None, chain: AuthChain
    ) -> web.Response:
        identity = await self._registry.identity(target, None)
        if identity is None:
            raise device_not_found(target)
        if target != edge.device_id:
            await self._services.authorizer.verify_chain(chain)
        modules = []
        if module_id is not None:
            module = await self._registry.module(target, module_id)
            if module is None:
                raise module_not_found(target, module_id)
            modules.append(module)
        return json_response(self._result([identity.device], modules, None))

    async def _page(self, edge: Device, token: str, size: int, *, leaves_only: bool) -> _Listing:
        """One page; the first begins with the edge itself and the modules of that device."""
        scope = scope_of(edge.device_id, edge.generation_id)
        first = token == ""
        room = size - 1 if first else size
        found = await self._registry.children(scope, token, room + 1)
        page, more = found[:room], len(found) > room
        modules = await self._registry.modules(edge.device_id) if first else []
        shown = [device for device in page if not (leaves_only and device.iot_edge)]
        for device in shown:
            if not device.iot_edge:
                modules += await self._registry.modules(device.device_id)
        # An empty first page with children left cannot be continued after "nothing": "!" sorts before every
        # id.
        last = page[-1].device_id if page else "!" if first else token
        return _Listing([edge, *shown] if first else shown, modules, last if more else None)

    def _result(self, devices: list[Device], modules: list[Module], link: str | None) -> dict[str, Any]:
        is_connected = self._services.connections.is_connected
        return {
            "devices": [d.view(connected=is_connected(d.device_id, None)) for d in devices],
            "modules": [m.view(connected=is_connected(m.device_id, m.module_id)) for m in modules],
            "continuationLink": link,
        }


class _Listing:
    """A page and where the next one begins, None at the end."""

    def __init__(self, devices: list[Device], modules: list[Module], continuation: str | None) -> None:
        self.devices = devices
        self.modules = modules
        self.continuation = continuation


def _is_edge_hub(principal: Principal, device_id: str) -> bool:
    if principal.policy is not None:
        return False
    return principal.device_id == device_id and principal.module_id in (None, EDGE_HUB_MODULE)


def _page_size(value: Json) -> int:
    try:
        size = int(value) if value else PAGE_DEFAULT
    except (TypeError, ValueError):
        raise argument_invalid("the page size must be a number.") from None
    return min(max(size, 1), PAGE_MAX)


def _token_of(link: str) -> str:
    """A continuation link is opaque to clients: a slash and the last id, percent-encoded."""
    return unquote(link.lstrip("/"))
