"""Cloud-to-device messages for one identity over one link. Sans-IO (iothub spec 1.4.5).

The parent hub keeps a message until we settle it, and hands it out again if the link goes before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.protocol import amqp_errors
from edgehub.protocol.addresses import Node, node_address, split_identity
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_types import AmqpDecodeError
from edgehub.protocol.cloud_messages import CloudMessage, Settlement, read_cloud_message

if TYPE_CHECKING:
    from edgehub.protocol.amqp_events import Received
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink, AmqpSession
    from edgehub.upstream.errors import UpstreamError

log = logging.getLogger(__name__)

CREDIT: Final = 10
"""Messages of one identity that may be here, not yet settled; of 64 KiB at most each."""
_REJECTED: Final = AmqpFault(amqp_errors.NOT_ALLOWED, "the client does not take it")


@dataclass(frozen=True, slots=True)
class ParentMessage:
    """A message that has to be settled.

    :ivar delivery: for the channel.
    """

    identity: str
    message: CloudMessage
    delivery: AmqpDelivery


class MessageOwner(Protocol):
    """Hears messages."""

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """A message; `MessageChannel.settle` ends it."""
        ...


class MessageChannel:
    """The link on its session.

    :ivar identity: `device`.
    :ivar last_used: set by the owner.
    """

    def __init__(
        self, session: AmqpSession, identity: str, properties: dict[str, str], owner: MessageOwner
    ) -> None:
        self._owner = owner
        self.identity = identity
        self.last_used = 0.0
        self._open = True
        self._unsettled = 0
        self._session = session
        self._link = session.attach_receiver(
            "DeviceBoundReceiverLink",
            node_address(Node.DEVICE_BOUND, *split_identity(identity)),
            properties=properties,
            credit=CREDIT,
        )
        self._link.tag = self

    @property
    def waiting(self) -> int:
        """Messages that are not settled; each gives a credit back when it is."""
        return self._unsettled

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered the attach."""

    def on_credit(self) -> None:
        """We send nothing here."""

    def on_message(self, event: Received) -> None:
        """A message. What cannot be read is rejected: another try would not cure it."""
        try:
            message = read_cloud_message(event.payload)
        except AmqpDecodeError as error:
            log.warning("the parent hub sent a message for %s that cannot be read: %s", self.identity, error)
            event.delivery.reject(AmqpFault(amqp_errors.DECODE_ERROR, str(error)))
            self._link.grant(1)
            return
        self._unsettled += 1
        self._owner.cloud_message(self, ParentMessage(self.identity, message, event.delivery))

    def settle(self, message: ParentMessage, settlement: Settlement) -> bool:
        """Ends a message; False if the link is gone meanwhile."""
        if not self._open:
            return False
        self._unsettled -= 1
        if settlement is Settlement.COMPLETE:
            message.delivery.accept()
        elif settlement is Settlement.REJECT:
            message.delivery.reject(_REJECTED)
        else:
            message.delivery.settle()
        self._link.grant(1)
        return True

    def deadline(self) -> float | None:
        """Messages end by their clients."""
        return None

    def on_deadline(self, now: float) -> None:
        """Nothing to do."""

    def fail(self, error: UpstreamError) -> None:
        """Closes the link: the parent hub hands out again what is not settled."""
        self._open = False
        self._session.close()
