"""Who learns about clients, whatever protocol they speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId
    from edgehub.protocol.topics import SubscriptionKind


class ClientObserver(Protocol):
    """Learns about clients; for counters and for the `clients` section of the `$edgeHub` twin."""

    def connected(self, identity: IdentityId) -> None: ...
    def disconnected(self, identity: IdentityId) -> None: ...
    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """A CONNECT was refused. `claimed` is the client's word, not checked."""
        ...


class SubscriptionObserver(Protocol):
    """Learns what clients are subscribed to, to set up the parent hub's side of it (heads spec 5.4)."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """All kinds that a client is subscribed to. Told when it connected with stored subscriptions, after
        `ClientObserver.connected`, and after every SUBSCRIBE and UNSUBSCRIBE, changed or not; each time the
        client has its answer already. They end with the connection: `ClientObserver.disconnected`."""
        ...


class ClientListener(ClientObserver, SubscriptionObserver, Protocol):
    """Learns both."""


@dataclass(frozen=True, slots=True)
class Observers:
    """All of them; each is told in the order of the tuple."""

    clients: tuple[ClientObserver, ...] = ()
    subscriptions: tuple[SubscriptionObserver, ...] = ()
