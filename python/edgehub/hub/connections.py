"""Who is connected: one client connection per identity, the newest wins (heads spec 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.identity.authenticator import AuthRequest
    from edgehub.protocol.sessions import Session


class ClientLimitError(EdgehubError):
    """As many clients are connected as `MaxConnectedClients` allows."""


@dataclass(slots=True)
class Client:
    """An accepted connection.

    :param conn: number of the connection in the core.
    :param auth: what the client presented, for re-authentication.
    """

    conn: int
    auth: AuthRequest
    session: Session
    peer: str
    client_type: str = ""

    @property
    def identity(self) -> IdentityId:
        return self.auth.identity


class Connections:
    """The map between identities and their connections.

    The limit counts live clients (DEV-15); `$edgeHub` modules, ours or a child's, are not counted.
    """

    def __init__(self, clients_max: int) -> None:
        self._clients_max = clients_max
        self._by_identity: dict[IdentityId, Client] = {}
        self._by_conn: dict[int, Client] = {}
        self._counted = 0

    @property
    def count(self) -> int:
        """Connected clients, `$edgeHub` modules left out."""
        return self._counted

    def __iter__(self) -> Iterator[Client]:
        """A snapshot, so that the caller may close what it meets."""
        return iter(list(self._by_identity.values()))

    def by_conn(self, conn: int) -> Client | None:
        """The client of a connection, unless a newer one took its place."""
        return self._by_conn.get(conn)

    def by_identity(self, identity: IdentityId) -> Client | None:
        return self._by_identity.get(identity)

    def check_room(self, identity: IdentityId) -> None:
        """Makes sure that one more connection of this identity is within the limit; a takeover always is.

        :raises ClientLimitError: it is not.
        """
        if identity in self._by_identity or not _is_counted(identity):
            return
        if self._counted >= self._clients_max:
            raise ClientLimitError(
                f"Edge hub already has maximum allowed clients ({self._clients_max}) connected."
            )

    def register(self, client: Client) -> Client | None:
        """Makes a client the current one of its identity and returns the one it takes the place of."""
        superseded = self._by_identity.get(client.identity)
        if superseded is not None:
            del self._by_conn[superseded.conn]
        elif _is_counted(client.identity):
            self._counted += 1
        self._by_identity[client.identity] = client
        self._by_conn[client.conn] = client
        return superseded

    def unregister(self, conn: int) -> Client | None:
        """Forgets a connection; returns its client if it was the current one of its identity."""
        client = self._by_conn.pop(conn, None)
        if client is None:
            return None
        del self._by_identity[client.identity]
        if _is_counted(client.identity):
            self._counted -= 1
        return client


def _is_counted(identity: IdentityId) -> bool:
    return identity.module_id != EDGE_HUB_MODULE_ID
