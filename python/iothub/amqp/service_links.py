"""Links of a service on one connection: messages to devices, and feedback (section 2.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehub.protocol import amqp_errors
from edgehub.protocol.addresses import Node
from edgehub.protocol.amqp_errors import AmqpFault
from iothub.amqp.c2d_nodes import FeedbackSource, ServiceMessages
from iothub.amqp.locked_outbox import LockedOutbox
from iothub.auth import access_denied
from iothub.policies import Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_handles import AmqpLink
    from iothub.amqp.nodes import Enqueue, NodeHandler
    from iothub.amqp.services import AmqpServices
    from iothub.amqp.tokens import TokenKey, TokenRing


class ServiceLinks:
    """Makes their handlers, and knows by which token each lives."""

    def __init__(
        self, services: AmqpServices, tokens: TokenRing, enqueue: Enqueue, touched: Callable[[], None]
    ) -> None:
        self._services = services
        self._tokens = tokens
        self._enqueue = enqueue
        self._touched = touched
        self._links: dict[AmqpLink, TokenKey] = {}

    def handler(self, link: AmqpLink, node: Node) -> NodeHandler | None:
        """Handler of a link; None after the link was refused.

        :raises HubError: 401002.
        """
        token = self._tokens.for_permission(Permission.SERVICE_CONNECT)
        if token is None:
            raise access_denied("The connection has no token of a policy with ServiceConnect.")
        services = self._services
        handler: NodeHandler
        if node is Node.SERVICE_SEND and not link.is_sender:
            handler = ServiceMessages(link, services.c2d, self._enqueue)
        elif node is Node.SERVICE_FEEDBACK and link.is_sender:
            source = FeedbackSource(services.c2d.feedback, services.hub_name)
            handler = LockedOutbox(link, source, self._touched)
        else:
            what = "receive from" if link.is_sender else "send to"
            link.refuse(AmqpFault(amqp_errors.NOT_IMPLEMENTED, f"nobody can {what} {node.value}"))
            return None
        self._links[link] = token
        return handler

    def of_token(self, token: TokenKey) -> list[AmqpLink]:
        """Links that live by a token."""
        return [link for link, key in self._links.items() if key == token]

    def forget(self, link: AmqpLink) -> None:
        """A link is gone."""
        self._links.pop(link, None)

    def all(self) -> list[AmqpLink]:
        """Links that are open."""
        return list(self._links)
