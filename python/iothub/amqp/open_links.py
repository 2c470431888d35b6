"""The open links of one connection, and the identities that they make it serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from iothub.amqp.served import ServedIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgehub.protocol.amqp_handles import AmqpLink
    from iothub.amqp.link_access import Access
    from iothub.amqp.nodes import Enqueue, NodeHandler
    from iothub.amqp.service_links import ServiceLinks
    from iothub.amqp.services import AmqpServices
    from iothub.amqp.tokens import TokenKey
    from iothub.connections import IdentityKey, IdentityOwner


@dataclass(frozen=True)
class LinkEntry:
    """What the connection knows about an open link; its tag.

    :ivar kind: of an identity's links there is one of each kind.
    :ivar key: identity, None for `$cbs` and the links of services.
    :ivar access: what it lives by, with an identity.
    """

    handler: NodeHandler
    kind: str
    key: IdentityKey | None = None
    access: Access | None = None

    def relies_on(self, device_id: str) -> bool:
        """Whether a change of this device, or of a module of it, may end the link."""
        if self.key is None or self.access is None:
            return False
        chain = self.access.chain
        return self.key[0] == device_id or (chain is not None and device_id in chain.devices)


class OpenLinks:
    """Opens and closes links.

    :param owner: the connection, in the table of all connections.
    """

    def __init__(
        self,
        services: AmqpServices,
        owner: IdentityOwner,
        service_links: ServiceLinks,
        enqueue: Enqueue,
        touched: Callable[[], None],
    ) -> None:
        self._services = services
        self._owner = owner
        self._service_links = service_links
        self._enqueue = enqueue
        self._touched = touched
        self._identities: dict[IdentityKey, ServedIdentity] = {}

    @property
    def serves_any(self) -> bool:
        """Whether any identity has a link."""
        return bool(self._identities)

    def relying_on(self, device_id: str) -> Iterator[tuple[AmqpLink, LinkEntry]]:
        """Links of identities that a change of this device may end."""
        for served in list(self._identities.values()):
            for link in list(served.links.values()):
                entry = link.tag
                if isinstance(entry, LinkEntry) and entry.relies_on(device_id):
                    yield link, entry

    # ---- open

    def serve(self, key: IdentityKey) -> ServedIdentity:
        """The identity, which from now on is this connection's."""
        served = self._identities.get(key)
        if served is None:
            served = ServedIdentity(key, self._services, self._touched, self._enqueue)
            self._identities[key] = served
            self._services.connections.claim(key, self._owner)
        return served

    def open_for(self, served: ServedIdentity, link: AmqpLink, entry: LinkEntry) -> None:
        """Opens a link of an identity; it takes the place of another one of its kind (A-037)."""
        previous = served.links.get(entry.kind)
        served.links[entry.kind] = link
        if previous is not None:
            text = "a newer link of the same kind was opened"
            self.close(previous, AmqpFault(amqp_errors.LINK_STOLEN, text))
        self.open(link, entry)

    def open(self, link: AmqpLink, entry: LinkEntry) -> None:
        """Answers the attach."""
        link.tag = entry
        limits = self._services.limits
        if link.owner_settles:
            link.open(snd_settle_mode="unsettled", rcv_settle_mode=link.remote_rcv_settle_mode)
            entry.handler.on_credit()  # what was granted with the attach
        elif link.is_sender:
            link.open(snd_settle_mode="settled")
        else:
            link.open(message_bytes_max=limits.link_message_bytes_max)
            link.grant(limits.link_credit)

    # ---- close

    def close(self, link: AmqpLink, fault: AmqpFault) -> None:
        """Detaches a link for a reason."""
        link.close(fault)
        self.forget(link)

    def forget(self, link: AmqpLink) -> None:
        """A link is gone, and with its last one an identity."""
        entry, link.tag = link.tag, None
        if not isinstance(entry, LinkEntry):
            return
        entry.handler.on_closed()
        self._service_links.forget(link)
        served = self._identities.get(entry.key) if entry.key is not None else None
        if served is not None:
            served.forget(entry.kind, link)
            if not served.links:
                self._drop(served.key)

    def _drop(self, key: IdentityKey) -> None:
        self._identities.pop(key).close()
        self._services.connections.release(key, self._owner)

    def close_identity(self, key: IdentityKey, fault: AmqpFault) -> None:
        """Detaches all links of an identity."""
        served = self._identities.get(key)
        for link in list(served.links.values()) if served else ():
            self.close(link, fault)

    def close_by_token(self, token: TokenKey, fault: AmqpFault) -> None:
        """Links that lived by a token go; the connection and other identities stay (row 37)."""
        for served in list(self._identities.values()):
            for link in list(served.links.values()):
                entry = link.tag
                if isinstance(entry, LinkEntry) and entry.access and entry.access.token == token:
                    self.close(link, fault)
        for link in self._service_links.of_token(token):
            self.close(link, fault)

    def drop_all(self) -> None:
        """The socket is gone."""
        for key in list(self._identities):
            self._drop(key)
        for link in self._service_links.all():
            self.forget(link)
