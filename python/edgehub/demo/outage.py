"""What an outage of the link did. Pure: times are passed in."""

from __future__ import annotations

from typing import Final

DRAINED_SLACK: Final = 10
"""Messages by which a backlog may differ from the one before the cut and still count as gone: some are
always on their way."""
ON_THE_WAY_MS: Final = 1000.0
"""Messages sent this shortly before the cut may still have been under way when it came."""


class Outage:
    """Follows one outage and its backlog."""

    def __init__(self) -> None:
        self.peak = 0
        """Largest number of messages that waited for the link, since the cut."""
        self.drained_s: float | None = None
        """From the return of the link until the backlog was gone."""
        self._before = 0
        self._cut_ms: float | None = None
        self._back_s: float | None = None
        self._drained_ms: float | None = None

    def begin(self, now_ms: float, waiting: int) -> None:
        """The link is cut.

        :param now_ms: Unix time.
        :param waiting: messages that wait for the link.
        """
        self._cut_ms = now_ms
        self._before = waiting

    def end(self, now_s: float) -> None:
        """The link is back.

        :param now_s: monotonic time.
        """
        self._back_s = now_s

    def observe(self, now_s: float, now_ms: float, waiting: int) -> None:
        """Messages that wait for the link now."""
        if self._cut_ms is None:
            return
        self.peak = max(self.peak, waiting)
        if self._back_s is None or self.drained_s is not None or waiting > self._before + DRAINED_SLACK:
            return
        self.drained_s = round(now_s - self._back_s, 3)
        self._drained_ms = now_ms

    def leaves_alone(self, begun_ms: float) -> bool:
        """Whether a message that was sent at this time had nothing to do with the outage.

        :param begun_ms: Unix time.
        """
        if self._cut_ms is None or begun_ms < self._cut_ms - ON_THE_WAY_MS:
            return True
        return self._drained_ms is not None and begun_ms > self._drained_ms
