"""When to connect, to wait and to renew: a pure state machine, time passed in.

```
            opened                          renew_at, nothing in flight
 OPENING ────────────► UP ───────────────────────────────► OPENING
   ▲  │                 │
   │  │ failed          │ lost
   │  ▼                 ▼
   └─ WAITING ◄─────────┘        WAITING ── retry_at ──► OPENING
```
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S_MIN: Final = 1.0
WAIT_S_MAX: Final = 60.0
STABLE_S: Final = 30.0
"""A connection that lived this long was a good one: waits begin from the shortest again. One that always ends
sooner (another agent with our identity, for one) is not tried again and again at once."""
RENEW_GRACE_S: Final = 10.0
"""A connection that must be renewed first finishes what is in flight, for at most this time."""
_DOUBLINGS_MAX: Final = 16


class State(Enum):
    """Where the link stands."""

    WAITING = auto()
    OPENING = auto()
    UP = auto()


class Action(Enum):
    """What the owner must do now."""

    NONE = auto()
    OPEN = auto()
    RENEW = auto()


class Connectivity:
    """The machine; waits for its first :meth:`poll`, which opens.

    :param random: numbers in [0, 1).
    :param wait_s_min: the shortest wait; the others are doublings of it, up to `WAIT_S_MAX`.
    """

    def __init__(self, random: Callable[[], float], wait_s_min: float = WAIT_S_MIN) -> None:
        self._random = random
        self._wait_s_min = wait_s_min
        self._state = State.WAITING
        self._retry_at = float("-inf")
        self._opened_at = 0.0
        self._renew_at = 0.0
        self._renew_until = 0.0
        self._failures = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def failures(self) -> int:
        """Connections in a row that did not come about or did not last."""
        return self._failures

    @property
    def deadline(self) -> float | None:
        """When to poll again, if nothing happens before."""
        if self._state is State.WAITING:
            return self._retry_at
        return self._renew_at if self._state is State.UP else None

    def poll(self, now: float, *, in_flight: bool = False) -> Action:
        """What is due.

        :param in_flight: requests or methods are not finished yet.
        """
        if self._state is State.WAITING and now >= self._retry_at:
            self._state = State.OPENING
            return Action.OPEN
        if self._state is State.UP and now >= self._renew_at:
            if in_flight and now < self._renew_until:
                # Looked at again soon: what is in flight ends without telling.
                self._renew_at = min(now + 0.5, self._renew_until)
                return Action.NONE
            self._state = State.OPENING
            return Action.RENEW
        return Action.NONE

    def opened(self, now: float, renew_at: float) -> None:
        """The connection stands, its token should not be used beyond `renew_at`."""
        self._state = State.UP
        self._opened_at = now
        self._renew_at = renew_at
        self._renew_until = renew_at + RENEW_GRACE_S

    def failed(self, now: float) -> float:
        """No connection came about; gives the wait in seconds."""
        return self._wait(now)

    def lost(self, now: float) -> float:
        """The connection ended by itself; gives the wait in seconds."""
        if now - self._opened_at >= STABLE_S:
            self._failures = 0
        return self._wait(now)

    def _wait(self, now: float) -> float:
        self._state = State.WAITING
        ceiling = min(self._wait_s_min * 2.0 ** min(self._failures, _DOUBLINGS_MAX), WAIT_S_MAX)
        self._failures += 1
        # Half of it is chance: many agents that lost the same hub come back spread out.
        wait_s = max(self._wait_s_min, ceiling * (0.5 + 0.5 * self._random()))
        self._retry_at = now + wait_s
        return wait_s
