"""Totals of the link as plain numbers, read by metrics at scrape time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SENDERS_MAX: Final = 10_000
"""Senders counted by name; further ones are counted under `OTHER`."""
OTHER: Final = "other"


@dataclass
class UpstreamStats:
    """Since start.

    :ivar sent: delivered messages by sender.
    :ivar rejected: refused messages by AMQP condition.
    :ivar retried: batches put off for another try.
    :ivar batches: transfers that the parent accepted.
    :ivar send_seconds: time from transfer to disposition, summed over `batches`.
    :ivar connects: connections that became usable; the first one included.
    :ivar connects_failed: attempts that did not.
    :ivar offline_count: times the parent was lost.
    """

    sent: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    retried: int = 0
    batches: int = 0
    send_seconds: float = 0.0
    connects: int = 0
    connects_failed: int = 0
    offline_count: int = 0
    _offline_seconds: float = 0.0
    _offline_since: float | None = None

    @property
    def reconnects(self) -> int:
        """Usable connections after the first."""
        return max(0, self.connects - 1)

    def count_sent(self, sender: str, count: int) -> None:
        """Messages of one sender were delivered."""
        name = sender if sender in self.sent or len(self.sent) < SENDERS_MAX else OTHER
        self.sent[name] = self.sent.get(name, 0) + count

    def count_rejected(self, condition: str, count: int) -> None:
        """Messages were refused for good. Conditions come from the peer, so their number is bounded too."""
        name = condition if condition in self.rejected or len(self.rejected) < 100 else OTHER
        self.rejected[name] = self.rejected.get(name, 0) + count

    def offline(self, now: float) -> None:
        """The parent cannot be reached from this monotonic time on."""
        if self._offline_since is None:
            self._offline_since = now

    def online(self, now: float) -> None:
        """The parent can be reached."""
        if self._offline_since is not None:
            self._offline_seconds += now - self._offline_since
            self._offline_since = None

    def offline_seconds(self, now: float) -> float:
        """Time without parent, the present outage included."""
        running = 0.0 if self._offline_since is None else now - self._offline_since
        return self._offline_seconds + running
