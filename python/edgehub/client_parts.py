"""What serves MQTT clients: the head, and what it decides with. Imported only when the head is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgehub.heads.mqtt import MqttHead
from edgehub.hub.reauthentication import Reauthenticator
from edgehub.hub.session_store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edgehub.common.clock import Clock
    from edgehub.common.state import StateStore
    from edgehub.heads.observers import Observers
    from edgehub.hub.connections import Connections
    from edgehub.hub.ports import GrantsFactory, HubCore
    from edgehub.identity.authenticator import Authenticator
    from edgehub.identity.scope import ScopeDiff


class ClientParts:
    """The head with its helpers."""

    def __init__(
        self,
        core: HubCore,
        grants: GrantsFactory,
        authenticator: Authenticator,
        connections: Connections,
        state: StateStore,
        clock: Clock,
        *,
        edge_device_id: str,
        observers: Observers,
    ) -> None:
        self._sessions = SessionStore(state)
        self.head = MqttHead(
            core,
            grants,
            authenticator,
            connections,
            self._sessions,
            clock,
            edge_device_id=edge_device_id,
            observers=observers,
        )
        self._reauthenticator = Reauthenticator(connections, authenticator, self.head.disconnect)

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Jobs that run until the hub stops, by name."""
        return {"reauthentication": self._reauthenticator.run()}

    def scope_changed(self, diff: ScopeDiff) -> None:
        """Closes clients that may no longer connect, and forgets the sessions of identities that are gone."""
        self._reauthenticator.scope_changed(diff)
        for gone in diff.removed:
            self._sessions.drop(gone)
