"""When whose twin goes to or comes from the parent hub. Pure: time is passed in (heads spec 7.3, 7.4).

An identity's reported properties go first, then its desired properties are compared (T-008); one identity is
worked on once at a time, several at a time in the order in which they asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId

RUNNING_MAX: Final = 8
"""Identities worked on at once."""
RETRY_MIN_S: Final = 5.0
RETRY_MAX_S: Final = 300.0
"""Waits after a failure of one identity; they double."""


class Turn(NamedTuple):
    """What is to be done for an identity, in this order."""

    identity: IdentityId
    push: bool
    compare: bool


@dataclass(slots=True)
class _Work:
    push: bool = False
    compare: bool = False
    not_before: float = 0.0
    failures: int = 0
    running: bool = False

    @property
    def wanted(self) -> bool:
        return self.push or self.compare


class SyncPlan:
    """Whose turn it is. The number of entries is that of the clients.

    :param gap_s: least time between two pushes of one identity (`ReportedPropertiesSyncFrequencySecs`).
    """

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._work: dict[IdentityId, _Work] = {}
        self._running = 0
        self._online = False

    def __len__(self) -> int:
        return len(self._work)

    # What is wanted

    def push(self, identity: IdentityId) -> None:
        """Reported properties wait to be sent."""
        self._entry(identity).push = True

    def compare(self, identity: IdentityId) -> None:
        """The desired properties may have changed unseen."""
        self._entry(identity).compare = True

    def forget(self, identity: IdentityId) -> None:
        """The identity is gone."""
        work = self._work.get(identity)
        if work is not None:
            work.push = work.compare = False
            self._tidy(identity, work)

    def link_up(self) -> None:
        """The parent hub can be reached: nobody waits any longer."""
        self._online = True
        for work in self._work.values():
            work.not_before, work.failures = 0.0, 0

    def link_down(self) -> None:
        """It cannot. What runs fails by itself; nothing new begins."""
        self._online = False

    # What to do

    def take(self, now: float) -> list[Turn]:
        """Turns that begin now; each ends with `finished` or `failed`."""
        turns: list[Turn] = []
        if not self._online:
            return turns
        for identity, work in list(self._work.items()):
            if self._running >= RUNNING_MAX:
                break
            if work.running or not work.wanted or work.not_before > now:
                continue
            turns.append(Turn(identity, work.push, work.compare))
            work.push = work.compare = False
            work.running = True
            self._running += 1
            # Behind all others, so that one that always wants something starves nobody.
            self._work[identity] = self._work.pop(identity)
        return turns

    def finished(self, turn: Turn, now: float) -> None:
        """A turn came to its end."""
        work = self._end(turn)
        work.failures = 0
        work.not_before = now + self._gap_s if turn.push else 0.0
        self._tidy(turn.identity, work, now)

    def failed(self, turn: Turn, now: float, *, left: Turn) -> None:
        """A turn did not come to its end.

        :param left: what of it is still to be done.
        """
        work = self._end(turn)
        work.push |= left.push
        work.compare |= left.compare
        work.failures += 1
        work.not_before = now + min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(work.failures - 1, 10))
        self._tidy(turn.identity, work, now)

    def due_at(self) -> float | None:
        """When `take` has something; None until something else happens."""
        if not self._online or self._running >= RUNNING_MAX:
            return None
        waits = (work.not_before for work in self._work.values() if work.wanted and not work.running)
        return min(waits, default=None)

    def _entry(self, identity: IdentityId) -> _Work:
        work = self._work.get(identity)
        if work is None:
            work = self._work[identity] = _Work()
        return work

    def _end(self, turn: Turn) -> _Work:
        self._running -= 1
        work = self._entry(turn.identity)
        work.running = False
        return work

    def _tidy(self, identity: IdentityId, work: _Work, now: float | None = None) -> None:
        """Forgets who wants nothing, unless the gap after a push is not over yet."""
        if not work.wanted and not work.running and (now is None or work.not_before <= now):
            self._work.pop(identity, None)
