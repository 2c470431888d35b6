"""Log lines about connections, with a bound on how many a crowd of clients or an outsider can cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehub.heads.line_budget import LineBudget

if TYPE_CHECKING:
    import logging

    from edgehub._core import ClosedEvent
    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.protocol.connect import ConnectRefusedError

LINES_PER_S = 10.0
LINES_BURST = 100.0
"""Of refused and failed connections."""
CLIENT_LINES_PER_S = 20.0
CLIENT_LINES_BURST = 200.0
"""Of clients that come and go. After an outage thousands come within a second: a line for each would take as
much time as the rest of their connecting."""

_QUIET = frozenset(("eof", "reset", "disconnect", "refused", "server", "shutdown"))
"""Reasons without news: port probes, and ends that were logged when they were decided."""


class ConnectionLog:
    """One line for each connection that is made, refused or lost, while there are not too many of them.

    Beyond the rate lines are counted, and the count is told with the next line that fits. Clients and
    outsiders have budgets of their own.
    """

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clients = LineBudget(clock, CLIENT_LINES_BURST, CLIENT_LINES_PER_S)
        self._refusals = LineBudget(clock, LINES_BURST, LINES_PER_S)

    def connected(self, identity: IdentityId, peer: str, *, restored: bool, superseded: bool) -> None:
        """A client was accepted."""
        if self._may_tell_of_client():
            instead = ", in place of its older connection" if superseded else ""
            session = "session restored" if restored else "new session"
            self._log.info("Client %s connected from %s (%s%s)", identity, peer, session, instead)

    def disconnected(self, identity: IdentityId, event: ClosedEvent) -> None:
        """The connection of a client ended."""
        if self._may_tell_of_client():
            detail = f": {event.detail}" if event.detail else ""
            self._log.info(
                "Client %s from %s disconnected (%s%s)", identity, event.peer, event.reason, detail
            )

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

    def _may_tell_of_client(self) -> bool:
        if not self._clients.spend():
            return False
        untold = self._clients.take_untold()
        if untold:
            self._log.info("%d more clients came or went and were not logged one by one", untold)
        return True

    def _say(self, text: str, *values: object) -> None:
        if not self._refusals.spend():
            return
        untold = self._refusals.take_untold()
        if untold:
            self._log.warning("%d more refused connections were not logged one by one", untold)
        self._log.warning(text, *values)
