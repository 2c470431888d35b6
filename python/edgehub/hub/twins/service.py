"""Twins of clients: GET and reported patches answered at once, kept in step with the parent hub behind.

Rules: heads spec 7. What a client is told it has, it has: a reported patch is answered when it is stored.
Whether and when something goes to the parent hub is decided by `SyncPlan`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.state import StateError, log_failure
from edgehub.errors import EdgehubError
from edgehub.hub.twins.record import VERSION
from edgehub.hub.twins.sync_plan import SyncPlan, Turn
from edgehub.protocol.reported import parse_reported
from edgehub.protocol.topics import SubscriptionKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.common.merge_patch import Object
    from edgehub.hub.twins.parent import ParentTwins
    from edgehub.hub.twins.record import TwinRecord
    from edgehub.hub.twins.store import TwinStore

READS_MAX: Final = 3
"""How often a twin is read again because it changed while it was read."""
PENDING_BYTES_MAX: Final = 256 * 1024
"""What may wait to be sent for one client; a reported patch beyond is refused."""

log = logging.getLogger(__name__)


class TwinFullError(EdgehubError):
    """More waits for the parent hub than one client may have waiting."""


class TwinObserver(Protocol):
    """Counts what happens with twins; the names are those of the metrics."""

    def twin_read(self, identity: IdentityId, source: str, seconds: float) -> None:
        """A client read its twin: from the parent hub (`upstream`) or from here (`edge_hub`)."""
        ...

    def twin_reported(self, identity: IdentityId, target: str, seconds: float) -> None:
        """A reported patch was stored (`edge_hub`), or taken by the parent hub (`upstream`)."""
        ...

    def report_refused(self, identity: IdentityId) -> None:
        """The parent hub refused a reported patch for good: it is lost."""
        ...


class _Reading:
    """A twin that is being read; everybody who wants it meanwhile shares the answer."""

    def __init__(self, task: asyncio.Task[tuple[TwinRecord, TwinRecord]]) -> None:
        self.task = task
        self.overtaken = False


class ClientTwins:
    """Twins of all clients but `$edgeHub`. Use from one event loop.

    :param parent: None for a hub without parent.
    :param deliver: sends a desired patch to a client that is subscribed.
    :param changed: hears every reported patch, for routes from `/twinChangeNotifications`.
    :param gap_s: least time between two pushes of one client (`ReportedPropertiesSyncFrequencySecs`).
    :param refresh_gap_s: least age of a copy that is read again although nobody follows it
        (`MinTwinSyncPeriodSecs`).
    """

    def __init__(
        self,
        store: TwinStore,
        parent: ParentTwins | None,
        clock: Clock,
        observer: TwinObserver,
        *,
        deliver: Callable[[IdentityId, int | None, bytes], None],
        changed: Callable[[IdentityId, bytes], None],
        gap_s: float,
        refresh_gap_s: float,
    ) -> None:
        self._store = store
        self._parent = parent
        self._clock = clock
        self._observer = observer
        self._deliver = deliver
        self._changed = changed
        self._refresh_gap_s = refresh_gap_s
        self._plan = SyncPlan(gap_s)
        self._online = False
        self._following: set[IdentityId] = set()
        self._read_at: dict[IdentityId, float] = {}
        """Connected clients that used their twin, and when it was last read."""
        self._readings: dict[IdentityId, _Reading] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        for identity in store.waiting:
            self._plan.push(identity)

    # What clients ask for

    async def get(self, identity: IdentityId) -> bytes:
        """The twin as JSON: from the parent hub, or else as it was last known (T-004, T-005).

        :raises StateError: the state cannot be read.
        """
        started = self._clock.monotonic_s()
        source = "edge_hub"
        self._read_at.setdefault(identity, float("-inf"))
        try:
            if self._online:
                await self._read(identity)
                source = "upstream"
        except StateError:
            raise
        except EdgehubError as error:
            log.info("The twin of %s is answered from the store: %s", identity, error)
        self._observer.twin_read(identity, source, self._clock.monotonic_s() - started)
        record = self._store.get(identity)
        if record.desired is None:
            # From now on the client believes that there are none, so it has to hear of all.
            record = record.read({}, record.reported)
            self._keep(identity, record)
        return _json(record.view)

    async def report(self, identity: IdentityId, payload: bytes) -> None:
        """Takes a reported patch; returns when it is stored.

        :raises ReportedError: the patch is not one, or is outside of the limits; nothing is stored.
        :raises TwinFullError: too much waits already; nothing is stored.
        :raises StateError: it could not be stored; as long as the hub runs it may arrive all the same.
        """
        started = self._clock.monotonic_s()
        patch = parse_reported(payload)
        record = self._store.get(identity).reported_by_client(patch)
        # With what is on its way: while sending fails, that is gathered with what waits again and again.
        if patch and sum(len(_json(step)) for step in record.pending.steps) > PENDING_BYTES_MAX:
            raise TwinFullError(f"{PENDING_BYTES_MAX} bytes wait for the parent hub already")
        written = self._store.put(identity, record)
        self._read_at.setdefault(identity, float("-inf"))
        if written is not None:
            await written
        self._observer.twin_reported(identity, "edge_hub", self._clock.monotonic_s() - started)
        self._changed(identity, payload)
        self._want_push(identity)

    # Events of the heads

    def connected(self, identity: IdentityId) -> None:
        """A client connected, maybe in the place of another; it is followed once it subscribes."""
        self._follow(identity, wanted=False)

    def disconnected(self, identity: IdentityId) -> None:
        """A client left: its desired properties matter to nobody now."""
        self._read_at.pop(identity, None)
        self._follow(identity, wanted=False)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """Nothing to do."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """A client's subscriptions are these."""
        self._follow(identity, wanted=SubscriptionKind.DESIRED_PROPERTIES in kinds)

    def drop(self, identity: IdentityId) -> None:
        """An identity no longer exists."""
        self.disconnected(identity)
        self._plan.forget(identity)
        self._store.drop(identity)

    # Events of the link

    def link_up(self) -> None:
        """The parent hub can be reached: what waits goes, what was missed comes (T-006, T-008, T-009)."""
        self._online = True
        self._plan.link_up()
        for identity in self._store.waiting:
            self._plan.push(identity)
        now = self._clock.monotonic_s()
        for identity, read_at in self._read_at.items():
            if identity in self._following or now - read_at >= self._refresh_gap_s:
                self._plan.compare(identity)
        for identity in self._following - self._read_at.keys():
            self._plan.compare(identity)
        self._wake.set()

    def link_down(self) -> None:
        """It cannot."""
        self._online = False
        self._plan.link_down()

    def desired_patch(self, identity: IdentityId, patch: Object) -> None:
        """Desired properties of a followed client changed (heads spec 7.4)."""
        reading = self._readings.get(identity)
        if reading is not None:
            reading.overtaken = True
        try:
            record = self._store.get(identity)
        except StateError as error:
            # The link has nothing to do with it; the turn tries again.
            log.error("The twin of %s cannot be read: %s", identity, error)
            self._plan.compare(identity)
            self._wake.set()
            return
        if record.follows(patch):
            self._keep(identity, record.desired_by_parent(patch))
            self._tell(identity, patch)
        elif record.desired is None:
            self._tell(identity, patch)
        else:
            self._plan.compare(identity)
            self._wake.set()

    def desired_missed(self, identity: IdentityId) -> None:
        """The parent hub did not follow a client for a while, and does again."""
        self._plan.compare(identity)
        self._wake.set()

    # The loop; cancelled at shutdown

    async def run(self) -> None:
        """Begins turns when they are due."""
        try:
            while True:
                for turn in self._plan.take(self._clock.monotonic_s()):
                    task = asyncio.create_task(self._take_turn(turn))
                    self._turns.add(task)
                    task.add_done_callback(self._turns.discard)
                await self._until_due()
        finally:
            for task in list(self._turns):
                task.cancel()
            await asyncio.gather(*self._turns, return_exceptions=True)

    async def _until_due(self) -> None:
        due = self._plan.due_at()
        rest_s = None if due is None else max(0.0, due - self._clock.monotonic_s())
        try:
            async with asyncio.timeout(rest_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _take_turn(self, turn: Turn) -> None:
        left = turn
        try:
            if turn.push:
                await self._push(turn.identity)
                left = left._replace(push=False)
            if turn.compare:
                await self._compare(turn.identity)
        except EdgehubError as error:
            log.info("The twin of %s is not in step with the parent hub: %s", turn.identity, error)
            self._plan.failed(turn, self._clock.monotonic_s(), left=left)
        except BaseException:
            self._plan.failed(turn, self._clock.monotonic_s(), left=left)
            raise
        else:
            self._plan.finished(turn, self._clock.monotonic_s())
        finally:
            self._wake.set()

    async def _push(self, identity: IdentityId) -> None:
        """Sends what waits of one client; what comes meanwhile waits for the next turn."""
        parent, started = self._need_parent(), self._clock.monotonic_s()
        record = self._store.get(identity).begin_sending()
        if not record.sending:
            return
        self._store.keep(identity, record)
        version: int | None = None
        for step in record.sending.steps:
            answer = await parent.report(str(identity), step)
            if answer.refused is not None:
                self._refused(identity, answer.refused)
                version = None
                break
            version = answer.version
        else:
            self._observer.twin_reported(identity, "upstream", self._clock.monotonic_s() - started)
        reading = self._readings.get(identity)
        if reading is not None:
            reading.overtaken = True
        self._keep(identity, self._store.get(identity).sent(version))
        if self._store.get(identity).waiting:
            self._want_push(identity)

    def _refused(self, identity: IdentityId, reason: str) -> None:
        """Sent again it would be refused again. The twin is read, so that the client finds what is true."""
        log.warning("The parent hub refused reported properties of %s for good: %s", identity, reason)
        self._observer.report_refused(identity)
        self._plan.compare(identity)

    async def _compare(self, identity: IdentityId) -> None:
        before, after = await self._read(identity)
        missed = before.missed(after.desired or {})
        if missed is not None:
            self._tell(identity, missed)

    async def _read(self, identity: IdentityId) -> tuple[TwinRecord, TwinRecord]:
        """The record before and after the twin was read; one read at a time for each client."""
        reading = self._readings.get(identity)
        if reading is None:
            task = asyncio.create_task(self._read_now(identity))
            reading = self._readings[identity] = _Reading(task)
            task.add_done_callback(lambda _: self._readings.pop(identity, None))
        return await asyncio.shield(reading.task)

    async def _read_now(self, identity: IdentityId) -> tuple[TwinRecord, TwinRecord]:
        parent = self._need_parent()
        for _ in range(READS_MAX):
            self._readings[identity].overtaken = False
            document = await parent.read_twin(str(identity))
            if not self._readings[identity].overtaken:
                break
        else:
            # An older copy would undo what the client was told meanwhile.
            raise EdgehubError("it changes faster than it can be read")
        before = self._store.get(identity)
        after = before.read(document.desired, document.reported)
        self._keep(identity, after)
        if identity in self._read_at:
            self._read_at[identity] = self._clock.monotonic_s()
        return before, after

    # Small parts

    def _follow(self, identity: IdentityId, *, wanted: bool) -> None:
        if wanted == (identity in self._following):
            return
        (self._following.add if wanted else self._following.discard)(identity)
        if self._parent is not None:
            self._parent.follow_desired(str(identity), wanted=wanted)
        if wanted and self._store.get(identity).desired is None:
            # What the client is told later is the difference to this.
            self._plan.compare(identity)
            self._wake.set()

    def _tell(self, identity: IdentityId, patch: Object) -> None:
        if identity in self._following:
            version = patch.get(VERSION)
            self._deliver(identity, version if isinstance(version, int) else None, _json(patch))

    def _want_push(self, identity: IdentityId) -> None:
        if self._parent is not None:
            self._plan.push(identity)
            self._wake.set()

    def _keep(self, identity: IdentityId, record: TwinRecord) -> None:
        """Nobody waits for it: the parent hub has it, too."""
        try:
            log_failure(self._store.put(identity, record), f"The twin of {identity}")
        except StateError as error:
            log.warning("The twin of %s could not be stored: %s", identity, error)

    def _need_parent(self) -> ParentTwins:
        if self._parent is None:
            raise EdgehubError("there is no parent hub")
        return self._parent


def _json(document: Object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
