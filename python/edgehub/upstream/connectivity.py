"""Whether the parent hub can be reached: a pure state machine (hub section 1.3, heads section 9.2).

```
            success                    timeout
   ┌──────────────────────┐   ┌───────────────────────┐
   ▼                      │   │                       ▼
CONNECTED ── timeout ──► TRYING ── timeout ──► DISCONNECTED
   ▲                                                │
   └──────────────── success ───────────────────────┘        lost connection: any state ─► DISCONNECTED
```

A timed-out operation alone does not say that the parent is gone: one probe decides. A lost connection does,
at once.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Reachability of the parent."""

    DISCONNECTED = "disconnected"
    TRYING = "trying"
    CONNECTED = "connected"


class Action(enum.Enum):
    """What the owner must do."""

    NONE = enum.auto()
    PROBE = enum.auto()
    DISCONNECT = enum.auto()


class Connectivity:
    """The machine; starts disconnected.

    :param check_s: probe after this time without a successful operation; negative never.
    """

    def __init__(self, check_s: float) -> None:
        self._check_s = check_s
        self._state = State.DISCONNECTED
        self._last_success = 0.0
        self._trying_since = 0.0

    @property
    def state(self) -> State:
        """Present state."""
        return self._state

    def on_success(self, now: float) -> None:
        """Any operation with the parent succeeded."""
        self._state = State.CONNECTED
        self._last_success = now

    def on_timeout(self, now: float, started_at: float) -> Action:
        """An operation that began at `started_at` was not answered in time.

        While trying, operations from before that time say nothing new: several of one stall time out
        together.
        """
        if self._state is State.CONNECTED:
            self._state = State.TRYING
            self._trying_since = now
            return Action.PROBE
        if self._state is State.TRYING and started_at >= self._trying_since:
            self._state = State.DISCONNECTED
            return Action.DISCONNECT
        return Action.NONE

    def on_lost(self) -> None:
        """The connection is gone."""
        self._state = State.DISCONNECTED

    def probe_at(self) -> float | None:
        """When a quiet connection must be probed."""
        if self._state is not State.CONNECTED or self._check_s < 0:
            return None
        return self._last_success + self._check_s

    def on_deadline(self, now: float) -> Action:
        """Asks for a probe when the quiet time is over."""
        due = self.probe_at()
        if due is None or now < due:
            return Action.NONE
        self._last_success = now  # one probe per period, whatever comes of it
        return Action.PROBE
