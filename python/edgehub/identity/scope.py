"""The device scope cache: who may connect here, and when to ask the parent hub again.

Pure state: pages of identities go in, look-ups and differences come out, time is passed in
(heads spec 4.3, 4.4, 4.6).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgehub.identity.model import ServiceIdentity

NESTING_MAX = 5
"""Edge devices between a leaf and the root (heads spec 10)."""
FIRST_LOAD_RETRY_S = 60.0
"""Gap between attempts until the first full load succeeds, and least gap after a later one that failed."""
TRACKED_REFRESHES_MAX = 10_000
"""Identities whose last refresh is remembered; the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class ScopeDiff:
    """What a refresh changed.

    :ivar anew: those of the changed that were deleted and registered again: others of the same name.
    """

    added: tuple[ServiceIdentity, ...] = ()
    changed: tuple[ServiceIdentity, ...] = ()
    removed: tuple[IdentityId, ...] = ()
    anew: tuple[IdentityId, ...] = ()

    @property
    def gone(self) -> tuple[IdentityId, ...]:
        """Identities that are no more, whether another has the name now or not."""
        return (*self.removed, *self.anew)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class ScopeReading:
    """What reading the whole scope gave, call by call.

    :ivar begun: revision of the cache before the first call.
    :ivar found: identities, each with the revision before the call that told of it.
    :ivar complete: whether it is all there is.
    """

    begun: int
    found: dict[IdentityId, tuple[ServiceIdentity, int]]
    complete: bool


class ScopeCache:
    """Identities by id. `edge_device_id` is this device, the root of all chains."""

    def __init__(self, edge_device_id: str) -> None:
        self._edge_device_id = edge_device_id
        self._identities: dict[IdentityId, ServiceIdentity] = {}
        self._revision = 0
        self._changed_at: dict[IdentityId, int] = {}

    def __len__(self) -> int:
        return len(self._identities)

    def get(self, identity_id: IdentityId) -> ServiceIdentity | None:
        return self._identities.get(identity_id)

    def all(self) -> tuple[ServiceIdentity, ...]:
        """Every identity, in no particular order."""
        return tuple(self._identities.values())

    @property
    def revision(self) -> int:
        """Grows with every identity that was read by itself and is another now, for `ScopeReading`."""
        return self._revision

    def replace_all(self, identities: Iterable[ServiceIdentity]) -> ScopeDiff:
        """Takes these and no others; what is not among them is removed."""
        fresh = {identity.id: identity for identity in identities}
        removed = tuple(known for known in self._identities if known not in fresh)
        diff = self._compare(fresh.values(), removed)
        self._identities = fresh
        self._changed_at.clear()
        return diff

    def take_all(self, reading: ScopeReading) -> ScopeDiff:
        """Takes the result of a full refresh. What is not in it is removed, if it is complete; what was read
        by itself after the refresh had read it is newer and stays as it is."""
        fresh = {} if reading.complete else dict(self._identities)
        fresh.update((known, item) for known, (item, _) in reading.found.items())
        for known, revision in self._changed_at.items():
            found = reading.found.get(known)
            if revision <= (reading.begun if found is None else found[1]):
                continue
            own = self._identities.get(known)
            if own is None:
                fresh.pop(known, None)
            else:
                fresh[known] = own
        return self.replace_all(fresh.values())

    def apply_one(self, target: IdentityId, found: Iterable[ServiceIdentity]) -> ScopeDiff:
        """Takes the answer for one identity, which may include its device. A target that is not in it is
        removed; a device takes its modules along."""
        fresh = {identity.id: identity for identity in found}
        removed = () if target in fresh else self._with_modules(target)
        diff = self._compare(fresh.values(), removed)
        for gone in removed:
            del self._identities[gone]
        self._identities.update(fresh)
        if diff:
            self._revision += 1
            touched = (*(item.id for item in (*diff.added, *diff.changed)), *removed)
            self._changed_at.update(dict.fromkeys(touched, self._revision))
        return diff

    def chain_to(self, identity_id: IdentityId) -> tuple[str, ...] | None:
        """Ids from an identity up to this edge device (`leaf/m`, `leaf`, `edge2`, `edge1`), or None when
        the cache knows no such way (heads spec 4.6)."""
        device = self._identities.get(identity_id.device)
        if device is None or identity_id not in self._identities:
            return None
        chain = [str(identity_id)] if identity_id.is_module else []
        for _ in range(NESTING_MAX + 1):
            chain.append(device.id.device_id)
            if device.id.device_id == self._edge_device_id:
                return tuple(chain)
            parent = self._parent_of(device)
            if parent is None:
                return None
            device = parent
        return None

    def scope_of(self, target: IdentityId) -> tuple[ServiceIdentity, ...]:
        """A device with its modules; of an edge device also the devices directly below it, leaf devices with
        their modules (heads spec 3.3). Modules of an edge device below are in its own scope."""
        device = self._identities.get(target)
        if device is None:
            return ()
        below = [
            item
            for item in self._identities.values()
            if not item.id.is_module and self._is_child(item, device)
        ]
        shown = {target, *(item.id for item in below if not item.is_edge)}
        modules = (
            item for item in self._identities.values() if item.id.is_module and item.id.device in shown
        )
        return (device, *below, *(item for item in modules if item.id.device in shown))

    def edges_above(self, identity_id: IdentityId) -> tuple[str, ...]:
        """Edge devices above an identity, up to this one, as far as the cache knows; at least this one."""
        chain = self.chain_to(identity_id) or ()
        own = (str(identity_id), identity_id.device_id)
        return tuple(name for name in chain if name not in own) or (self._edge_device_id,)

    def upstream_chain(self, identity_id: IdentityId) -> tuple[str, ...] | None:
        """The chain under which messages of an identity go to the parent hub, None when it may not send:
        unknown, disabled or below a disabled device, or not below this device."""
        chain = self.chain_to(identity_id)
        return None if chain is None or self.disabled_on(chain) is not None else chain

    def is_edge(self, device_id: str) -> bool:
        """Whether a device is known and may have others below it."""
        device = self._identities.get(IdentityId(device_id))
        return device is not None and device.is_edge

    def disabled_on(self, chain: Iterable[str]) -> str | None:
        """The first of a chain that is disabled or not known, None when all of it is in use."""
        known = ((name, self._identities.get(IdentityId.parse(name))) for name in chain)
        return next((name for name, item in known if item is None or not item.enabled), None)

    def _parent_of(self, device: ServiceIdentity) -> ServiceIdentity | None:
        edges = (item for item in self._identities.values() if item.is_edge)
        return next((edge for edge in edges if self._is_child(device, edge)), None)

    @staticmethod
    def _is_child(item: ServiceIdentity, edge: ServiceIdentity) -> bool:
        """Whether a device is directly below another, which is an edge device then."""
        if not edge.is_edge or item.id == edge.id or not edge.device_scope:
            return False
        if edge.device_scope in item.parent_scopes:
            return True
        return not item.is_edge and item.device_scope == edge.device_scope

    def _compare(self, fresh: Iterable[ServiceIdentity], removed: tuple[IdentityId, ...]) -> ScopeDiff:
        added, changed, anew = [], [], []
        for identity in fresh:
            before = self._identities.get(identity.id)
            if before is None:
                added.append(identity)
            elif before != identity:
                changed.append(identity)
                if before.generation_id and identity.generation_id not in ("", before.generation_id):
                    anew.append(identity.id)
        return ScopeDiff(tuple(added), tuple(changed), removed, tuple(anew))

    def _with_modules(self, target: IdentityId) -> tuple[IdentityId, ...]:
        if target not in self._identities:
            return ()
        if target.is_module:
            return (target,)
        return tuple(known for known in self._identities if known.device_id == target.device_id)


class RefreshPolicy:
    """When the parent hub may be asked again (heads spec 4.3, 4.4, I-011, I-012). Times are monotonic.

    :param period_s: between full refreshes.
    :param gap_s: least time between two refreshes of one identity, and between two full ones on demand.
    """

    def __init__(self, *, period_s: float, gap_s: float) -> None:
        self._period_s = period_s
        self._gap_s = gap_s
        self._loaded = False
        self._wanted = False
        self._last_failed = False
        self._last_full_s: float | None = None
        self._contacts = _Gaps(gap_s)
        self._refusals = _Gaps(gap_s)

    @property
    def loaded(self) -> bool:
        """Whether a full refresh ever succeeded; before, single refreshes are skipped."""
        return self._loaded

    def full_finished(self, now_s: float, *, succeeded: bool) -> None:
        """Records the end of a full refresh."""
        self._last_full_s = now_s
        self._last_failed = not succeeded
        # One that was asked for is tried again; before the first success that happens anyway.
        self._wanted = self._wanted and self._loaded and not succeeded
        self._loaded = self._loaded or succeeded

    def want_full(self) -> None:
        """Asks for a full refresh as soon as one is allowed, for example because the link is back."""
        self._wanted = True

    def may_refresh_all(self, now_s: float) -> bool:
        """Whether a full refresh on demand is allowed now."""
        return self._last_full_s is None or now_s - self._last_full_s >= self._gap_s

    def next_full_s(self, now_s: float) -> float:
        """Seconds until the next full refresh by the clock."""
        if self._last_full_s is None:
            return 0.0
        return max(0.0, self._last_full_s + self._wait_s() - now_s)

    def _wait_s(self) -> float:
        """From one full refresh to the next."""
        if not self._loaded:
            return 0.0 if self._wanted else min(FIRST_LOAD_RETRY_S, self._period_s)
        if not self._wanted:
            return self._period_s
        return max(self._gap_s, FIRST_LOAD_RETRY_S) if self._last_failed else self._gap_s

    def take_one(self, identity_id: IdentityId, now_s: float) -> bool:
        """Whether one identity may be refreshed now; if so, it counts as done."""
        return self._loaded and self._contacts.take(identity_id, now_s)

    def take_refused(self, identity_id: IdentityId, now_s: float) -> bool:
        """The same for one that the parent hub refuses: what was read at its first contact, maybe a moment
        ago, is older than the refusal. Refusals have a gap of their own."""
        return self._loaded and self._refusals.take(identity_id, now_s)

    def give_back_one(self, identity_id: IdentityId) -> None:
        """The refresh of one identity failed: it may be tried again at once."""
        self._contacts.give_back(identity_id)

    def give_back_refused(self, identity_id: IdentityId) -> None:
        """The same after a refusal."""
        self._refusals.give_back(identity_id)


class _Gaps:
    """Lets each identity pass once in `gap_s`."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._last_s: OrderedDict[IdentityId, float] = OrderedDict()

    def take(self, identity_id: IdentityId, now_s: float) -> bool:
        last_s = self._last_s.get(identity_id)
        if last_s is not None and now_s - last_s < self._gap_s:
            return False
        self._last_s[identity_id] = now_s
        self._last_s.move_to_end(identity_id)
        if len(self._last_s) > TRACKED_REFRESHES_MAX:
            self._last_s.popitem(last=False)
        return True

    def give_back(self, identity_id: IdentityId) -> None:
        """What it passed for came to nothing: it may pass again at once."""
        self._last_s.pop(identity_id, None)


def edge_hub_of(device_id: str) -> IdentityId:
    """The `$edgeHub` module of an edge device."""
    return IdentityId(device_id, EDGE_HUB_MODULE_ID)
