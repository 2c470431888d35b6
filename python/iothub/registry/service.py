"""The registry for the event loop: async calls, a cache of credentials, and word of changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from iothub.errors import ErrorCode, HubError
from iothub.registry.store import RegistryStore

if TYPE_CHECKING:
    from iothub.database import Database
    from iothub.registry.model import Authentication, Device, DeviceRequest, KeyChoice, Module, ModuleRequest

T = TypeVar("T")

CACHE_IDENTITIES_MAX: Final = 10_000
"""Credentials kept in memory; the least recently used one leaves."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What authentication needs to know of a device or module.

    :ivar module: None for a device.
    """

    device: Device
    module: Module | None

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of this very identity."""
        return (self.module or self.device).authentication.keys

    @property
    def generation_id(self) -> str:
        """Generation of this very identity."""
        return (self.module or self.device).generation_id

    @property
    def auth_type(self) -> str:
        """Registered kind of credentials."""
        return (self.module or self.device).authentication.type


IdentityListener = Callable[[str, str | None], None]


class Registry:
    """Devices and modules.

    Listeners hear of every identity that changed or went, with module None for a device and all below it.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._store = RegistryStore(database.engine, clock)
        self._cache: OrderedDict[tuple[str, str | None], Identity | None] = OrderedDict()
        self._epoch = 0
        self._listeners: list[IdentityListener] = []

    @property
    def epoch(self) -> int:
        """How many changes there were; who keeps what was read learns by it whether that may be old."""
        return self._epoch

    def listen(self, listener: IdentityListener) -> None:
        """Adds a listener; it is called on the event loop."""
        self._listeners.append(listener)

    def _changed(self, device_id: str, module_id: str | None) -> None:
        self._epoch += 1
        if module_id is None:
            stale = [key for key in self._cache if key[0] == device_id]
        else:
            stale = [(device_id, module_id)]
        for key in stale:
            self._cache.pop(key, None)
        for listener in self._listeners:
            listener(device_id, module_id)

    async def identity(self, device_id: str, module_id: str | None) -> Identity | None:
        """Credentials of an identity, None when it is not registered; cached."""
        key = (device_id, module_id)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        epoch = self._epoch
        found = await self._database.run(lambda: self._load_identity(device_id, module_id))
        # A change that came meanwhile may have made the answer stale: then it is used once but not kept.
        if epoch == self._epoch and found is not None:
            self._cache[key] = found
            if len(self._cache) > CACHE_IDENTITIES_MAX:
                self._cache.popitem(last=False)
        return found

    def _load_identity(self, device_id: str, module_id: str | None) -> Identity | None:
        device = self._store.device(device_id)
        if device is None or module_id is None:
            return None if device is None else Identity(device, None)
        module = self._store.module(device_id, module_id)
        return None if module is None else Identity(device, module)

    async def device(self, device_id: str) -> Device | None:
        """One device."""
        return await self._database.run(lambda: self._store.device(device_id))

    async def module(self, device_id: str, module_id: str) -> Module | None:
        """One module."""
        return await self._database.run(lambda: self._store.module(device_id, module_id))

    async def devices(self, top: int) -> list[Device]:
        """Up to `top` devices."""
        return await self._database.run(lambda: self._store.devices(top))

    async def modules(self, device_id: str) -> list[Module]:
        """Modules of a device.

        :raises HubError: 404001.
        """
        return await self._database.run(lambda: self._store.modules(device_id))

    async def counts(self) -> tuple[int, int]:
        """All devices and enabled ones."""
        return await self._database.run(self._store.counts)

    async def children(self, scope: str, after: str, limit: int) -> list[Device]:
        """Devices directly below an edge device."""
        return await self._database.run(lambda: self._store.children(scope, after, limit))

    async def parent(self, device: Device) -> Device | None:
        """Edge device directly above."""
        return await self._database.run(lambda: self._store.parent(device))

    async def put_device(self, request: DeviceRequest, if_match: str | None) -> Device:
        """Creates or updates.

        :raises HubError: see `RegistryStore.put_device`.
        """
        return await self._write((request.device_id, None), lambda: self._store.put_device(request, if_match))

    async def put_module(self, request: ModuleRequest, if_match: str | None) -> Module:
        """Creates or updates.

        :raises HubError: see `RegistryStore.put_module`.
        """
        key = (request.device_id, request.module_id)
        return await self._write(key, lambda: self._store.put_module(request, if_match))

    async def renew_keys(self, device_id: str, module_id: str | None, choice: KeyChoice) -> Authentication:
        """Makes keys anew; who lives by the old ones is cut off.

        :raises HubError: 404001, 404010, 400003.
        """
        key = (device_id, module_id)
        return await self._write(key, lambda: self._store.renew_keys(*key, choice))

    async def delete_device(self, device_id: str, if_match: str | None) -> None:
        """Removes a device and all below it.

        :raises HubError: 404001, 412001.
        """
        await self._write((device_id, None), lambda: self._store.delete_device(device_id, if_match))

    async def delete_module(self, device_id: str, module_id: str, if_match: str | None) -> None:
        """Removes a module.

        :raises HubError: 404001, 404010, 412001.
        """
        await self._write(
            (device_id, module_id), lambda: self._store.delete_module(device_id, module_id, if_match)
        )

    async def _write(self, key: tuple[str, str | None], work: Callable[[], T]) -> T:
        """Changes an identity and tells of it. What the database did not answer may have been done all the
        same, when the connection broke during the commit: then nothing that was read before is trusted."""
        try:
            result = await self._database.run(work)
        except HubError as error:
            if error.code is ErrorCode.ServiceUnavailable:
                self._changed(*key)
            raise
        self._changed(*key)
        return result
