"""Keeps the scope cache up to date from the parent hub, and its last good copy on disk.

A full refresh runs at start, every `DeviceScopeCacheRefreshRateSecs`, when the link comes back and on
demand; at most one runs at a time and others join it (heads spec 4.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from edgehub.common.state import Change, StateError, StateStore, log_failure
from edgehub.errors import EdgehubError
from edgehub.identity.scope import NESTING_MAX, RefreshPolicy, ScopeCache, ScopeDiff
from edgehub.identity.scope_wire import ScopeFormatError, decode_scope_page, encode_identity
from edgehub.identity.sealing import Sealer, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.identity.model import ServiceIdentity

BUCKET = "scope"
ASKING_MAX = 16
"""Identities that are asked for in the background at once; beyond, all are asked for."""

log = logging.getLogger(__name__)


class ScopeApiError(EdgehubError):
    """A scope call failed; the cache stays as it is."""


class ScopeApi(Protocol):
    """Where identities come from."""

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        """All identities directly in the scope of one edge device, itself included.

        :param edge_chain: the edge device and those above it, up to this one.
        :raises ScopeApiError: no answer, or not a usable one.
        """
        ...

    async def get_identity(
        self, identity_id: IdentityId, edge_chain: Sequence[str]
    ) -> Sequence[ServiceIdentity]:
        """One identity, a module with its device; empty when it does not exist or is not in scope.

        :param edge_chain: the edge device whose scope it is in, as far as known, and those above it.
        :raises ScopeApiError: no answer, or not a usable one.
        """
        ...


REFRESHES_MAX = 32
"""Identities that the parent hub is asked for at a time for child edge devices; one more is refused."""


class ScopeRefresher:
    """Drives one cache from one API.

    :param api: None for a hub whose identities never change.
    :param sealer: None keeps nothing on disk.
    :param nested: whether the scopes of edge devices below this one are listed too.
    :param on_diff: told of every change that a refresh made.
    """

    def __init__(
        self,
        cache: ScopeCache,
        policy: RefreshPolicy,
        api: ScopeApi | None,
        clock: Clock,
        *,
        edge_device_id: str,
        state: StateStore,
        sealer: Sealer | None,
        nested: bool = True,
    ) -> None:
        self._single: dict[IdentityId, asyncio.Task[ScopeApiError | None]] = {}
        self._nested = nested
        self._cache = cache
        self._policy = policy
        self._api = api
        self._clock = clock
        self._edge_device_id = edge_device_id
        self._state = state
        self._sealer = sealer
        self._running: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self.on_diff: Callable[[ScopeDiff], None] = lambda diff: None

    def load_stored(self) -> int:
        """Fills the cache with the last good copy, so that known clients connect while offline (I-013)."""
        if self._sealer is None:
            return 0
        found: list[ServiceIdentity] = []
        unreadable = 0
        for key, sealed in self._state.items(BUCKET):
            try:
                found.extend(decode_scope_page(self._sealer.open(sealed, _place(key))).identities)
            except (SealError, ScopeFormatError):
                unreadable += 1
        if unreadable:
            log.warning(
                "%d stored identities cannot be read and are ignored until the next refresh", unreadable
            )
        self._cache.replace_all(found)
        return len(found)

    def can_refresh(self) -> bool:
        return self._api is not None and self._policy.loaded

    async def refresh_one(self, identity_id: IdentityId) -> None:
        if self._api is not None and self._policy.take_one(identity_id, self._clock.monotonic_s()):
            await self._refresh_quietly(self._api, identity_id)

    async def _refresh_quietly(self, api: ScopeApi, identity_id: IdentityId) -> None:
        try:
            found = await api.get_identity(identity_id, self._cache.edges_above(identity_id))
        except ScopeApiError as error:
            log.warning("Could not refresh the identity %s: %s", identity_id, error)
            return
        await self._take_one(api, identity_id, found)

    def refresh_refused(self, identity_id: IdentityId) -> None:
        """Asks in the background for an identity that the parent hub refuses, unless a refusal of it was
        looked into a short while ago."""
        if self._api is None or not self._policy.take_refused(identity_id, self._clock.monotonic_s()):
            return
        if len(self._asking) >= ASKING_MAX:
            self.request_refresh()
            return
        task = asyncio.create_task(self._refresh_quietly(self._api, identity_id))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def refresh_these(self, identities: Sequence[IdentityId]) -> None:
        """Asks for identities at once, whenever that was done last: somebody at the parent hub knows why.

        :raises ScopeApiError: one of them could not be read; those before it are up to date.
        """
        if self._api is None:
            return
        for identity_id in identities:
            found = await self._api.get_identity(identity_id, self._cache.edges_above(identity_id))
            await self._take_one(self._api, identity_id, found)

    async def refresh_now(self, identity_id: IdentityId) -> None:
        """Asks for one identity, whenever that was done last; who wants the same meanwhile joins.

        :raises ScopeApiError: no answer, or not a usable one, or too many are asked for.
        """
        if self._api is None:
            return
        asking = self._single.get(identity_id)
        if asking is None:
            if len(self._single) >= REFRESHES_MAX:
                raise ScopeApiError(f"{REFRESHES_MAX} identities are being asked for already")
            asking = asyncio.create_task(self._ask_one(self._api, identity_id))
            self._single[identity_id] = asking
            asking.add_done_callback(lambda _: self._single.pop(identity_id, None))
        # Shielded: one who waits no longer must not stop it for the others.
        error = await asyncio.shield(asking)
        if error is not None:
            raise ScopeApiError(str(error))

    async def _ask_one(self, api: ScopeApi, identity_id: IdentityId) -> ScopeApiError | None:
        """What went wrong is given back: nobody may be waiting for it any more."""
        try:
            found = await api.get_identity(identity_id, self._cache.edges_above(identity_id))
        except ScopeApiError as error:
            return error
        await self._take_one(api, identity_id, found)
        return None

    async def _take_one(
        self, api: ScopeApi, identity_id: IdentityId, found: Sequence[ServiceIdentity]
    ) -> None:
        """Takes the answer for one identity; an edge device that turns up, or is another now, brings
        what is below it."""
        diff = self._cache.apply_one(identity_id, found)
        self._publish(diff)
        for item in (*diff.added, *diff.changed):
            chain = self._cache.chain_to(item.id)
            if self._nested and item.is_edge and item.enabled and chain is not None and len(chain) > 1:
                await self._add_scope(api, item.id, chain)

    async def _add_scope(self, api: ScopeApi, edge: IdentityId, chain: tuple[str, ...]) -> None:
        try:
            found, _ = await self._walk(api, chain)
        except ScopeApiError as error:
            log.warning("Could not list the scope of %s: %s", edge, error)
            return
        if edge in found:
            self._publish(self._cache.apply_one(edge, found.values()))

    async def refresh_all(self) -> None:
        if self._running is None:
            if self._api is None or not self._policy.may_refresh_all(self._clock.monotonic_s()):
                return
            self._running = asyncio.create_task(self._refresh_now(self._api))
        # Shielded: a client that leaves must not stop the refresh for the others.
        await asyncio.shield(self._running)

    def request_refresh(self) -> None:
        """Asks the loop of `run` for a full refresh now, for example because the link is back."""
        self._wake.set()

    async def run(self) -> None:
        """Refreshes by the clock and on request, until cancelled."""
        while self._api is not None:
            if await self._is_due():
                if self._running is None:
                    self._running = asyncio.create_task(self._refresh_now(self._api))
                await asyncio.shield(self._running)

    async def _is_due(self) -> bool:
        """Waits for the clock or a request; False when a refresh that just happened serves as well."""
        try:
            async with asyncio.timeout(self._policy.next_full_s(self._clock.monotonic_s())):
                await self._wake.wait()
        except TimeoutError:
            return self._policy.next_full_s(self._clock.monotonic_s()) <= 0
        self._wake.clear()
        return not self._policy.loaded or self._policy.may_refresh_all(self._clock.monotonic_s())

    async def _refresh_now(self, api: ScopeApi) -> None:
        succeeded = False
        try:
            found, succeeded = await self._walk(api, (self._edge_device_id,))
            if not succeeded:
                found = {item.id: item for item in self._cache.all()} | found
            self._publish(self._cache.replace_all(found.values()))
            log.info("Device scope refreshed: %d identities", len(self._cache))
        except ScopeApiError as error:
            log.warning("Could not refresh the device scope: %s", error)
        finally:
            self._policy.full_finished(self._clock.monotonic_s(), succeeded=succeeded)
            self._running = None

    async def _walk(
        self, api: ScopeApi, start: tuple[str, ...]
    ) -> tuple[dict[IdentityId, ServiceIdentity], bool]:
        """Lists an edge device and, breadth first, the edge devices below it, disabled ones left out.

        :param start: the edge device and those above it, up to this one.

        :returns: what was found, and whether it is all there is: an edge device below that cannot be
            listed does not spoil the rest.
        :raises ScopeApiError: the first edge device cannot be listed.
        """
        found: dict[IdentityId, ServiceIdentity] = {}
        waiting: deque[tuple[str, ...]] = deque([start])
        seen, complete = set(start), True
        while waiting:
            chain = waiting.popleft()
            try:
                listed = await api.list_identities(chain)
            except ScopeApiError as error:
                if chain == start:
                    raise
                log.warning("Could not list the scope of %s: %s", chain[0], error)
                complete = False
                continue
            found.update((item.id, item) for item in listed)
            if self._nested and len(chain) <= NESTING_MAX:
                edges = (item.id.device_id for item in listed if item.is_edge and item.enabled)
                below = [device_id for device_id in edges if device_id not in seen]
                seen.update(below)
                waiting.extend((device_id, *chain) for device_id in below)
        return found, complete

    def _publish(self, diff: ScopeDiff) -> None:
        if not diff:
            return
        self._store(diff)
        self.on_diff(diff)

    def _store(self, diff: ScopeDiff) -> None:
        if self._sealer is None:
            return
        changes: list[Change] = []
        for identity in (*diff.added, *diff.changed):
            key = str(identity.id)
            changes.append((BUCKET, key, self._sealer.seal(encode_identity(identity), _place(key))))
        changes.extend((BUCKET, str(gone), None) for gone in diff.removed)
        try:
            log_failure(self._state.write(changes), "The device scope")
        except StateError as error:
            log.warning("Could not store the device scope: %s", error)


def _place(key: str) -> str:
    return f"{BUCKET}/{key}"
