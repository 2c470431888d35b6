"""Keeps the scope cache up to date from the parent hub, and its last good copy on disk.

A full refresh runs at start, every `DeviceScopeCacheRefreshRateSecs`, when the link comes back and on
demand; at most one runs at a time and others join it (heads spec 4.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgehub.common.state import Change, StateError, StateStore
from edgehub.errors import EdgehubError
from edgehub.identity.scope import NESTING_MAX, RefreshPolicy, ScopeCache, ScopeDiff, ScopeReading
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
CLIENT_REFRESHES_MAX = 128
"""Identities that it is asked for at a time because of who connects; one more is judged by what is known."""


_Asks: TypeAlias = "dict[IdentityId, asyncio.Task[ScopeApiError | None]]"
"""Identities that are being asked for; the outcome is what went wrong."""


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
        self._single: _Asks = {}
        self._of_clients: _Asks = {}
        self._unsaved: set[IdentityId] = set()
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
        if self._api is None:
            return
        asking = self._of_clients.get(identity_id)
        if asking is None:
            if len(self._of_clients) >= CLIENT_REFRESHES_MAX:
                return
            if not self._policy.take_one(identity_id, self._clock.monotonic_s()):
                return
            asking = self._ask(self._of_clients, self._api, identity_id)
            asking.add_done_callback(partial(self._asked_for_client, identity_id))
        # Shielded: a client that gives up and comes again finds its answer.
        await asyncio.shield(asking)

    def _asked_for_client(self, identity_id: IdentityId, asking: asyncio.Task[ScopeApiError | None]) -> None:
        error = None if asking.cancelled() or asking.exception() is not None else asking.result()
        if error is not None:
            self._policy.give_back_one(identity_id)
            log.warning("Could not refresh the identity %s: %s", identity_id, error)

    def refresh_refused(self, identity_id: IdentityId) -> None:
        """Asks in the background for an identity that the parent hub refuses, unless a refusal of it was
        looked into a short while ago."""
        if self._api is None or not self._policy.take_refused(identity_id, self._clock.monotonic_s()):
            return
        if len(self._asking) >= ASKING_MAX:
            self.request_refresh()
            return
        task = asyncio.create_task(self._ask_again(self._api, identity_id))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_again(self, api: ScopeApi, identity_id: IdentityId) -> None:
        error = await self._ask_one(api, identity_id)
        if error is not None:
            self._policy.give_back_refused(identity_id)
            log.warning("Could not refresh the identity %s: %s", identity_id, error)

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
            asking = self._ask(self._single, self._api, identity_id)
        # Shielded: one who waits no longer must not stop it for the others.
        error = await asyncio.shield(asking)
        if error is not None:
            raise ScopeApiError(str(error))

    def _ask(self, asks: _Asks, api: ScopeApi, identity_id: IdentityId) -> asyncio.Task[ScopeApiError | None]:
        asking = asyncio.create_task(self._ask_one(api, identity_id))
        asks[identity_id] = asking
        asking.add_done_callback(lambda _: asks.pop(identity_id, None))
        return asking

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
            reading = await self._walk(api, chain)
        except ScopeApiError as error:
            log.warning("Could not list the scope of %s: %s", edge, error)
            return
        if edge in reading.found:
            self._publish(self._cache.apply_one(edge, (item for item, _ in reading.found.values())))

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
        """Waits for the clock or a request; False when that came too soon after the last refresh. Then the
        clock tells when its time has come."""
        try:
            async with asyncio.timeout(self._policy.next_full_s(self._clock.monotonic_s())):
                await self._wake.wait()
        except TimeoutError:
            return self._policy.next_full_s(self._clock.monotonic_s()) <= 0
        self._wake.clear()
        self._policy.want_full()
        return self._policy.next_full_s(self._clock.monotonic_s()) <= 0

    async def _refresh_now(self, api: ScopeApi) -> None:
        succeeded = False
        try:
            reading = await self._walk(api, (self._edge_device_id,))
            succeeded = reading.complete
            self._publish(self._cache.take_all(reading))
            self._save()
            log.info("Device scope refreshed: %d identities", len(self._cache))
        except ScopeApiError as error:
            log.warning("Could not refresh the device scope: %s", error)
        finally:
            self._policy.full_finished(self._clock.monotonic_s(), succeeded=succeeded)
            self._running = None

    async def _walk(self, api: ScopeApi, start: tuple[str, ...]) -> ScopeReading:
        """Lists an edge device and, breadth first, the edge devices below it, disabled ones left out.

        An edge device below that cannot be listed does not spoil the rest; the reading is incomplete then.

        :param start: the edge device and those above it, up to this one.
        :raises ScopeApiError: the first edge device cannot be listed.
        """
        begun = self._cache.revision
        found: dict[IdentityId, tuple[ServiceIdentity, int]] = {}
        waiting: deque[tuple[str, ...]] = deque([start])
        seen, complete = set(start), True
        while waiting:
            chain, revision = waiting.popleft(), self._cache.revision
            try:
                listed = await api.list_identities(chain)
            except ScopeApiError as error:
                if chain == start:
                    raise
                log.warning("Could not list the scope of %s: %s", chain[0], error)
                complete = False
                continue
            found.update((item.id, (item, revision)) for item in listed)
            if self._nested and len(chain) <= NESTING_MAX:
                edges = (item.id.device_id for item in listed if item.is_edge and item.enabled)
                below = [device_id for device_id in edges if device_id not in seen]
                seen.update(below)
                waiting.extend((device_id, *chain) for device_id in below)
        return ScopeReading(begun, found, complete)

    def _publish(self, diff: ScopeDiff) -> None:
        if not diff:
            return
        if self._sealer is not None:
            self._unsaved.update(item.id for item in (*diff.added, *diff.changed))
            self._unsaved.update(diff.removed)
            self._save()
        self.on_diff(diff)

    def _save(self) -> None:
        """Writes what the disk does not have yet. What fails is written with the next change or refresh:
        without it, a hub that restarts offline would take identities that are gone."""
        if self._sealer is None or not self._unsaved:
            return
        saving, self._unsaved = self._unsaved, set()
        try:
            written = self._state.write([self._change(self._sealer, item) for item in saving])
        except StateError as error:
            self._not_saved(saving, error)
            return
        if written is not None:
            written.add_done_callback(partial(self._written, saving))

    def _change(self, sealer: Sealer, identity_id: IdentityId) -> Change:
        key, known = str(identity_id), self._cache.get(identity_id)
        value = None if known is None else sealer.seal(encode_identity(known), _place(key))
        return BUCKET, key, value

    def _written(self, saving: set[IdentityId], written: asyncio.Future[None]) -> None:
        error = None if written.cancelled() else written.exception()
        if error is not None:
            self._not_saved(saving, error)

    def _not_saved(self, saving: set[IdentityId], error: BaseException) -> None:
        self._unsaved |= saving
        log.warning("Could not store the device scope: %s", error)


def _place(key: str) -> str:
    return f"{BUCKET}/{key}"
