"""Log lines about connections that never became clients, with a bound on how many an outsider can cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from edgehub._core import ClosedEvent
    from edgehub.common.clock import Clock
    from edgehub.protocol.connect import ConnectRefusedError

LINES_PER_S = 10.0
LINES_BURST = 100.0

_QUIET = frozenset(("eof", "reset", "disconnect", "refused", "server", "shutdown"))
"""Reasons without news: port probes, and ends that were logged when they were decided."""


class RefusalLog:
    """One line per refused or failed connection, while there are not too many of them.

    Beyond the rate lines are counted, and the count is told with the next line that fits.
    """

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._budget = LINES_BURST
        self._refilled_s = clock.monotonic_s()
        self._untold = 0

    def refused(self, peer: str, client_id: str, refusal: ConnectRefusedError) -> None:
        """A CONNECT was answered with a code."""
        self._say(
            "Client %.300r from %s refused with %d: %s", client_id, peer, int(refusal.code), refusal.reason
        )

    def closed(self, event: ClosedEvent) -> None:
        """A connection ended that is not, or no longer, the one of a client."""
        if event.reason in _QUIET:
            self._log.debug("Connection from %s closed (%s) %s", event.peer, event.reason, event.detail)
        else:
            self._say("Connection from %s closed: %s %s", event.peer, event.reason, event.detail)

    def _say(self, text: str, *values: object) -> None:
        now_s = self._clock.monotonic_s()
        self._budget = min(LINES_BURST, self._budget + (now_s - self._refilled_s) * LINES_PER_S)
        self._refilled_s = now_s
        if self._budget < 1.0:
            self._untold += 1
            return
        self._budget -= 1.0
        if self._untold:
            self._log.warning("%d more refused connections were not logged one by one", self._untold)
            self._untold = 0
        self._log.warning(text, *values)
