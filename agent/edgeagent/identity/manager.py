"""Keeps the identities of the modules in the hub's registry (agent spec 2.7, rows X02 to X05)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from edgeagent.errors import AgentError
from edgeagent.identity.model import AGENT_ID, DeriveKeys, ModuleIdentity
from edgeagent.identity.plan import plan_identities

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from edgeagent.identity.cache import IdentityCache


CALLS_AT_ONCE: Final = 4

log = logging.getLogger(__name__)


class Registry(Protocol):
    """What is needed of :class:`~edgeagent.identity.registry.HubRegistry`."""

    async def modules(self) -> list[ModuleIdentity]: ...

    async def module(self, module_id: str) -> ModuleIdentity | None: ...

    async def create(self, module_id: str) -> ModuleIdentity: ...

    async def set_keys(self, identity: ModuleIdentity, keys: tuple[str, str]) -> ModuleIdentity: ...

    async def delete(self, module_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Identities:
    """What modules may be made with.

    :ivar by_id: identities whose keys the hub has, by module id. A module that is not in it waits (row P11).
    :ivar faults: why one is missing or stays, by module id; under "" why the hub could not be asked.
    """

    by_id: Mapping[str, ModuleIdentity] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def generation_id(self, module_id: str) -> str | None:
        """For `IOTEDGE_MODULEGENERATIONID`; None for a module without identity."""
        identity = self.by_id.get(module_id)
        return None if identity is None else identity.generation_id


class IdentityManager:
    """Knows the identities of this device. One call at a time; others wait.

    :param clean_orphans: `EnableOrphanedIdentityCleanup`.
    """

    def __init__(
        self,
        registry: Registry,
        derive_keys: DeriveKeys,
        cache: IdentityCache,
        *,
        clean_orphans: bool = False,
    ) -> None:
        self._registry = registry
        self._derive_keys = derive_keys
        self._cache = cache
        self._clean_orphans = clean_orphans
        self._ready: dict[str, ModuleIdentity] = {}
        self._lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)

    async def load(self) -> Identities:
        """What was known before a restart. Call it first."""
        self._ready = await asyncio.to_thread(self._cache.load)
        return self.known

    @property
    def known(self) -> Identities:
        """Without asking the hub."""
        return Identities(dict(self._ready))

    async def ensure(self, wanted: Collection[str], removed: Collection[str] = ()) -> Identities:
        """Deletes, makes and gives keys. Never fails: what went wrong is in the result (row X04).

        :param wanted: module ids of the deployment.
        :param removed: module ids whose containers are taken away with it.
        """
        async with self._lock:
            try:
                at_hub = {identity.module_id: identity for identity in await self._registry.modules()}
                ready = [name for name, one in at_hub.items() if await self._is_ready(one)]
                self._ready = {name: at_hub[name] for name in ready}
                faults = await self._carry_out(at_hub, wanted, removed)
            except AgentError as fault:
                log.warning("Identities of modules: %s", fault)
                return Identities(dict(self._ready), {"": str(fault)})
            await asyncio.to_thread(self._cache.save, list(self._ready.values()))
            return Identities(dict(self._ready), faults)

    async def _is_ready(self, identity: ModuleIdentity) -> bool:
        """Whether the hub has the keys that this device derives."""
        if identity.keys is None:
            # The hub does not show them: then what we set for this very identity counts.
            ready = self._ready.get(identity.module_id)
            return ready is not None and ready.generation_id == identity.generation_id
        return identity.keys == await self._derive_keys(identity.module_id, identity.generation_id)

    async def _carry_out(
        self, at_hub: Mapping[str, ModuleIdentity], wanted: Collection[str], removed: Collection[str]
    ) -> dict[str, str]:
        plan = plan_identities(at_hub, wanted, removed, self._ready, clean_orphans=self._clean_orphans)
        faults: dict[str, str] = {}
        await self._all(plan.delete, self._delete, faults)
        await self._all(plan.create, self._create, faults)
        rekey = {identity.module_id: identity for identity in plan.rekey}
        await self._all(tuple(rekey), lambda name: self._set_keys(rekey[name]), faults)
        return faults

    async def _all(
        self, names: Collection[str], work: Callable[[str], Awaitable[None]], faults: dict[str, str]
    ) -> None:
        """Each by itself: one that fails holds up no other."""

        async def one(name: str) -> None:
            async with self._slots:
                try:
                    await work(name)
                except AgentError as fault:
                    log.warning("The identity of %s: %s", name, fault)
                    faults[name] = str(fault)

        await asyncio.gather(*(one(name) for name in names))

    async def _delete(self, module_id: str) -> None:
        await self._registry.delete(module_id)
        self._ready.pop(module_id, None)
        log.info("The identity of %s is deleted", module_id)

    async def _create(self, module_id: str) -> None:
        await self._set_keys(await self._registry.create(module_id))

    async def _set_keys(self, identity: ModuleIdentity) -> None:
        keys = await self._derive_keys(identity.module_id, identity.generation_id)
        self._ready[identity.module_id] = await self._registry.set_keys(identity, keys)
        log.info("The identity of %s is ready", identity.module_id)

    async def provision_agent(self) -> ModuleIdentity:
        """Makes sure that the hub knows the keys of `$edgeAgent`: at the first start of a device, and when
        the hub does not take them any more (row O09).

        :raises IdentityError: it could not be done.
        """
        async with self._lock:
            found = await self._registry.module(AGENT_ID) or await self._registry.create(AGENT_ID)
            if found.keys == await self._derive_keys(AGENT_ID, found.generation_id):
                self._ready[AGENT_ID] = found
            else:
                await self._set_keys(found)
            await asyncio.to_thread(self._cache.save, list(self._ready.values()))
            return self._ready[AGENT_ID]
