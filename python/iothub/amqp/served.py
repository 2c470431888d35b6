"""What one connection serves for one identity: its links, and what stands behind pairs of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgehub.protocol.addresses import Node
from iothub.amqp.c2d_nodes import DeviceSource
from iothub.amqp.locked_outbox import LockedOutbox
from iothub.amqp.method_nodes import MethodAnswers, MethodChannel
from iothub.amqp.nodes import TwinChannel, TwinRequests, correlation_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_handles import AmqpLink
    from iothub.amqp.nodes import Enqueue, NodeHandler
    from iothub.amqp.services import AmqpServices
    from iothub.connections import IdentityKey


@dataclass
class ServedIdentity:
    """One identity on a connection.

    :ivar links: its links by kind: a second link of a kind closes the first.
    :ivar twins: its twin channels by channel-correlation-id.
    :ivar methods: its method channels, likewise.
    :ivar messages: what hands out its cloud-to-device messages, if it receives them.
    """

    key: IdentityKey
    services: AmqpServices
    touched: Callable[[], None]
    enqueue: Enqueue
    links: dict[str, AmqpLink] = field(default_factory=dict)
    twins: dict[str, TwinChannel] = field(default_factory=dict)
    methods: dict[str, MethodChannel] = field(default_factory=dict)
    messages: LockedOutbox | None = None

    def handler(self, link: AmqpLink, node: Node) -> tuple[NodeHandler, str]:
        """Handler and kind of a link to the twin, to the methods, or of cloud-to-device messages."""
        if node is Node.TWIN:
            return self._twin_handler(link)
        return self._method_handler(link) if node is Node.METHODS else self._messages_handler(link)

    def _twin_handler(self, link: AmqpLink) -> tuple[NodeHandler, str]:
        pair = correlation_pair(link)
        channel = self.twins.get(pair)
        if channel is None:
            channel = self.twins[pair] = TwinChannel(self.key, self.services, self.touched)
        if link.is_sender:
            return channel.attach_outbox(link), f"twin-out:{pair}"
        return TwinRequests(link, channel, self.enqueue), f"twin-in:{pair}"

    def _method_handler(self, link: AmqpLink) -> tuple[NodeHandler, str]:
        pair = correlation_pair(link)
        channel = self.methods.get(pair)
        if channel is None:
            channel = self.methods[pair] = MethodChannel(self.key, self.services, self.touched)
        if link.is_sender:
            return channel.attach_outbox(link), f"methods-out:{pair}"
        return MethodAnswers(link, channel), f"methods-in:{pair}"

    def _messages_handler(self, link: AmqpLink) -> tuple[NodeHandler, str]:
        if self.messages is not None:
            self.messages.on_closed()
        self.messages = LockedOutbox(link, DeviceSource(self.services.c2d, self.key[0]), self.touched)
        return self.messages, "messages-out"

    def forget(self, kind: str, link: AmqpLink) -> None:
        """A link is gone, and with both of its links a channel: a client may make new ones without end."""
        if self.links.get(kind) is not link:
            return
        del self.links[kind]
        for name, channels in (("twin", self.twins), ("methods", self.methods)):
            pair = kind.partition(":")[2]
            if kind.startswith(name) and not {f"{name}-in:{pair}", f"{name}-out:{pair}"} & self.links.keys():
                channels.pop(pair, None)

    def close(self) -> None:
        """The connection serves it no more."""
        if self.messages is not None:
            self.messages.on_closed()
        for twin in self.twins.values():
            twin.unsubscribe()
        for methods in self.methods.values():
            methods.close()
