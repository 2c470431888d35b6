"""Devices and modules over REST (section 2.3, rows 1-3 and 5-9)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from iothub import jsonio
from iothub.auth import Principal, access_denied
from iothub.errors import ErrorCode, HubError, device_not_found, module_not_found
from iothub.policies import Permission
from iothub.registry.model import SYSTEM_MODULES, Device, Module, parse_device, parse_module
from iothub.registry.store import check_top
from iothub.rest.routing import path_of

if TYPE_CHECKING:
    from edgehub.common.json_types import Json
    from iothub.registry.model import ModuleRequest
    from iothub.registry.service import Registry
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router


def json_response(value: Json, *, etag: str | None = None) -> web.Response:
    """200 with JSON and, for one resource, its quoted etag."""
    headers = {} if etag is None else {"ETag": f'"{etag}"'}
    return web.Response(
        body=jsonio.encode(value), content_type="application/json", charset="utf-8", headers=headers
    )


class RegistryApi:
    """Handlers for `/devices` and `/statistics`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._registry = services.registry

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        router.add("GET", "/statistics/devices", self.device_statistics)
        router.add("GET", "/statistics/service", self.service_statistics)
        router.add("GET", "/devices", self.list_devices)
        router.add("GET", "/devices/{}", self.get_device)
        router.add("PUT", "/devices/{}", self.put_device)
        router.add("DELETE", "/devices/{}", self.delete_device)
        router.add("GET", "/devices/{}/modules", self.list_modules)
        router.add("GET", "/devices/{}/modules/{}", self.get_module)
        router.add("PUT", "/devices/{}/modules/{}", self.put_module)
        router.add("DELETE", "/devices/{}/modules/{}", self.delete_module)

    def _view(self, module: Module) -> dict[str, Any]:
        connected = self._services.connections.is_connected(module.device_id, module.module_id)
        return module.view(connected=connected)

    async def _device_views(self, devices: list[Device]) -> list[dict[str, Any]]:
        connected = self._services.connections.is_connected
        waiting = await self._services.c2d.counts([device.device_id for device in devices])
        return [
            device.view(
                connected=connected(device.device_id, None), messages=waiting.get(device.device_id, 0)
            )
            for device in devices
        ]

    async def device_statistics(self, call: Call) -> web.Response:
        """Counts of registered devices."""
        await self._services.require(call.request, Permission.REGISTRY_READ)
        total, enabled = await self._registry.counts()
        return json_response(
            {"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled}
        )

    async def service_statistics(self, call: Call) -> web.Response:
        """Count of connected devices."""
        await self._services.require(call.request, Permission.REGISTRY_READ)
        return json_response({"connectedDeviceCount": self._services.connections.connected_devices()})

    async def list_devices(self, call: Call) -> web.Response:
        """Up to `top` devices."""
        await self._services.require(call.request, Permission.REGISTRY_READ)
        found = await self._registry.devices(check_top(call.request.query.get("top")))
        return json_response(await self._device_views(found))

    async def get_device(self, call: Call) -> web.Response:
        """One device."""
        await self._services.require(call.request, Permission.REGISTRY_READ)
        device = await self._registry.device(call.ids[0])
        if device is None:
            raise device_not_found(call.ids[0])
        (view,) = await self._device_views([device])
        return json_response(view, etag=device.etag)

    async def put_device(self, call: Call) -> web.Response:
        """Creates without `If-Match`, updates with it."""
        await self._services.require(call.request, Permission.REGISTRY_WRITE)
        document = jsonio.parse_object(await call.request.read(), "the device")
        device = await self._registry.put_device(parse_device(call.ids[0], document), call.if_match)
        (view,) = await self._device_views([device])
        return json_response(view, etag=device.etag)

    async def delete_device(self, call: Call) -> web.Response:
        """Removes a device and all below it."""
        await self._services.require(call.request, Permission.REGISTRY_WRITE)
        await self._registry.delete_device(call.ids[0], call.if_match)
        return web.Response(status=204)

    async def _module_access(self, call: Call, permission: Permission) -> Principal:
        """A policy, or the device itself for its own modules (the identity service does that)."""
        principal = await self._services.device_principal(call.request, call.ids[0])
        own = principal.device_id == call.ids[0] and principal.module_id is None
        if not own and not principal.may(permission, path_of(call.request.rel_url.raw_path)):
            raise access_denied(f"{principal.label} may not manage modules of {call.ids[0]}.")
        return principal

    async def list_modules(self, call: Call) -> web.Response:
        """All modules of a device."""
        await self._module_access(call, Permission.REGISTRY_READ)
        return json_response([self._view(module) for module in await self._registry.modules(call.ids[0])])

    async def get_module(self, call: Call) -> web.Response:
        """One module."""
        await self._module_access(call, Permission.REGISTRY_READ)
        module = await find_module(self._registry, *call.ids)
        return json_response(self._view(module), etag=module.etag)

    async def put_module(self, call: Call) -> web.Response:
        """Creates without `If-Match`, updates with it. A device may set keys of its system modules, no
        more."""
        principal = await self._module_access(call, Permission.REGISTRY_WRITE)
        document = jsonio.parse_object(await call.request.read(), "the module")
        request = parse_module(call.ids[0], call.ids[1], document)
        if principal.policy is None and call.if_match is not None:
            request = await keys_alone(self._registry, request)
        module = await self._registry.put_module(request, call.if_match)
        return json_response(self._view(module), etag=module.etag)

    async def delete_module(self, call: Call) -> web.Response:
        """Removes a module."""
        principal = await self._module_access(call, Permission.REGISTRY_WRITE)
        if principal.policy is None and call.ids[1] in SYSTEM_MODULES:
            raise system_module_error(call.ids[1])
        await self._registry.delete_module(call.ids[0], call.ids[1], call.if_match)
        return web.Response(status=204)


async def find_module(registry: Registry, device_id: str, module_id: str) -> Module:
    """One module.

    :raises HubError: 404001, 404010.
    """
    module = await registry.module(device_id, module_id)
    if module is None:
        if await registry.device(device_id) is None:
            raise device_not_found(device_id)
        raise module_not_found(device_id, module_id)
    return module


async def keys_alone(registry: Registry, request: ModuleRequest) -> ModuleRequest:
    """A device's change of one of its modules. Of a system module it may change the keys alone: who manages
    that stays, whether the request says so or nothing.

    :raises HubError: 401100, 404001, 404010.
    """
    if request.module_id not in SYSTEM_MODULES:
        return request
    known = await find_module(registry, request.device_id, request.module_id)
    if request.managed_by not in (None, known.managed_by):
        raise system_module_error(request.module_id)
    return replace(request, managed_by=known.managed_by)


def system_module_error(module_id: str) -> HubError:
    """401100."""
    return HubError(
        ErrorCode.SystemModuleModifyUnauthorizedAccess,
        f"{module_id} belongs to the edge device and stays as it is.",
    )
