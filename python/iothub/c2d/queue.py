"""One device's queue as a pure state machine (section 5.1).

```
enqueued ── take ──► locked ── complete, reject ──► ended
    ▲                  │ abandon (counts), lock over, release
    └──────────────────┘
```

It ends, too, by expiry while nobody holds it, by one abandon too many, and by a purge. The owner loads the
entries, applies one operation, and writes `changed` and `ended` in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iothub.c2d.model import MS, Ack, C2dLimits, Status
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Lock:
    """A message is in somebody's hands.

    :ivar until_ms: Unix time from which on it is not.
    """

    token: str
    until_ms: int


@dataclass(slots=True, eq=False)
class Entry:
    """What the queue needs to know of a message.

    :ivar delivery_count: how often it was abandoned.
    """

    sequence: int
    expires_ms: int
    ack: Ack = Ack.NONE
    message_id: str | None = None
    delivery_count: int = 0
    lock: Lock | None = None


class DeviceQueue:
    """See the module.

    :param entries: in the order of their sequences.
    :ivar changed: entries with another lock or count than before.
    :ivar ended: entries that are gone, and why.
    """

    def __init__(self, entries: Iterable[Entry], limits: C2dLimits) -> None:
        self._entries = {entry.sequence: entry for entry in entries}
        self._limits = limits
        self.changed: dict[int, Entry] = {}
        self.ended: list[tuple[Entry, Status]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def check_room(self) -> None:
        """Whether one more may come.

        :raises HubError: 403004.
        """
        if len(self._entries) >= self._limits.depth_max:
            text = f"The device has {self._limits.depth_max} messages that are not settled."
            raise HubError(ErrorCode.DeviceMaximumQueueDepthExceeded, text)

    def advance(self, now_ms: int) -> None:
        """Ends locks and lives that are over. Call it before every operation."""
        for entry in list(self._entries.values()):
            if entry.lock is not None and entry.lock.until_ms <= now_ms:
                self._unlock(entry)
            if entry.lock is None and entry.expires_ms <= now_ms:
                self._end(entry, Status.EXPIRED)

    def take(self, now_ms: int, token: str, lock_secs: float | None = None) -> Entry | None:
        """Locks the first message that is free.

        :param lock_secs: None for the usual time.
        """
        seconds = self._limits.lock_secs if lock_secs is None else lock_secs
        for entry in self._entries.values():
            if entry.lock is None:
                entry.lock = Lock(token, now_ms + int(seconds * MS))
                self.changed[entry.sequence] = entry
                return entry
        return None

    def complete(self, token: str) -> None:
        """The device has it.

        :raises HubError: 412002.
        """
        self._end(self._locked(token), Status.SUCCESS)

    def reject(self, token: str) -> None:
        """The device refuses it.

        :raises HubError: 412002.
        """
        self._end(self._locked(token), Status.REJECTED)

    def abandon(self, token: str) -> None:
        """The device wants it again, later.

        :raises HubError: 412002.
        """
        entry = self._locked(token)
        entry.delivery_count += 1
        self._unlock(entry)
        if entry.delivery_count >= self._limits.deliveries_max:
            self._end(entry, Status.DELIVERY_COUNT_EXCEEDED)

    def release(self, tokens: Iterable[str]) -> None:
        """Whoever held these has gone without a word: as if they had never been taken."""
        wanted = set(tokens)
        for entry in list(self._entries.values()):
            if entry.lock is not None and entry.lock.token in wanted:
                self._unlock(entry)

    def purge(self) -> int:
        """Ends all messages; how many there were."""
        count = len(self._entries)
        for entry in list(self._entries.values()):
            self._end(entry, Status.PURGED)
        return count

    def _locked(self, token: str) -> Entry:
        for entry in self._entries.values():
            if entry.lock is not None and entry.lock.token == token:
                return entry
        raise HubError(ErrorCode.DeviceMessageLockLost, "The lock on the message is over, or never was.")

    def _unlock(self, entry: Entry) -> None:
        entry.lock = None
        self.changed[entry.sequence] = entry

    def _end(self, entry: Entry, status: Status) -> None:
        del self._entries[entry.sequence]
        self.changed.pop(entry.sequence, None)
        self.ended.append((entry, status))
