"""Checks live connections again: by the clock, when identities change, and on word of the parent hub
(heads spec 4.5, 5.1)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgehub.common.ids import EDGE_HUB_MODULE_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.ids import IdentityId
    from edgehub.heads.connections import Client, Connections
    from edgehub.identity.authenticator import Authenticator
    from edgehub.identity.scope import ScopeDiff

PERIOD_S = 300.0
CHECKS_PER_SLICE = 100
"""Clients checked before other work of the loop gets its turn."""

log = logging.getLogger(__name__)


class Reauthenticator:
    """Closes connections whose credentials no longer hold. Never asks the parent hub.

    :param disconnect: closes a client with a reason.
    :param retire: does so after what the client has asked for; when its time is over, and nothing else.
    """

    def __init__(
        self,
        connections: Connections,
        authenticator: Authenticator,
        disconnect: Callable[[Client, str], None],
        retire: Callable[[Client, str], None],
    ) -> None:
        self._connections = connections
        self._authenticator = authenticator
        self._disconnect = disconnect
        self._retire = retire

    async def run(self) -> None:
        """Sweeps every five minutes, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.sweep()

    async def sweep(self) -> None:
        """One round over all clients, in slices."""
        log.info("Reauthenticating connected clients")
        for number, client in enumerate(self._connections, 1):
            self._recheck(client)
            if number % CHECKS_PER_SLICE == 0:
                await asyncio.sleep(0)

    def scope_changed(self, diff: ScopeDiff) -> None:
        """Closes clients that left the scope; checks those that, or whose device, changed (I-014, I-015)."""
        gone = set(diff.gone)
        touched = {identity.id for identity in diff.changed} | gone
        for client in self._connections:
            if client.identity in gone:
                self._disconnect(client, "identity removed")
            elif (
                client.credential.auth_chain is not None
                or {client.identity, client.identity.device} & touched
            ):
                self._recheck(client)

    def refused_by_parent(self, identity: IdentityId) -> None:
        """Closes a client that the parent hub does not serve, whatever is known of it here (T-024)."""
        client = self._connections.by_identity(identity)
        if client is not None:
            self._disconnect(client, "the parent hub refuses this client")

    def _recheck(self, client: Client) -> None:
        if client.identity.module_id == EDGE_HUB_MODULE_ID:
            return
        # The sweep may run over a list that is older than the last turn of the loop.
        if self._connections.by_conn(client.conn) is not client:
            return
        verdict = self._authenticator.check_again(client.credential)
        if not verdict.accepted:
            end = self._retire if verdict.expired else self._disconnect
            end(client, f"reauthentication failed: {verdict.reason}")
