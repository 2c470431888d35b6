"""Who is connected: one client connection per identity, the newest wins (heads spec 5.1)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId
from edgehub.errors import EdgehubError
from edgehub.protocol.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.identity.authenticator import Credential


class ClientLimitError(EdgehubError):
    """As many clients are connected as `MaxConnectedClients` allows."""


class Client:
    """An accepted connection. There may be thousands that do nothing, so each is small (docs/memory.md).

    :ivar conn: number of the connection in the core.
    :ivar credential: what the client presented, for re-authentication.
    :ivar client_type: name and version of the SDK, as it says.
    """

    __slots__ = ("_session", "client_type", "conn", "credential")

    def __init__(self, conn: int, credential: Credential, session: Session, client_type: str = "") -> None:
        self.conn = conn
        self.credential = credential
        # Thousands of devices have one of a few SDKs.
        self.client_type = sys.intern(client_type)
        self._session: Session | bool = (
            session if session.subscriptions or session.stored else session.durable
        )

    @property
    def identity(self) -> IdentityId:
        return self.credential.identity

    @property
    def session(self) -> Session:
        """The client's session; one without any subscription comes into being when it is asked for."""
        if isinstance(self._session, bool):
            self._session = Session(durable=self._session)
        return self._session


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
