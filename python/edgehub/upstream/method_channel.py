"""Method calls to one identity over two links: requests in, answers out. Sans-IO (iothub spec 1.4.6)."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.protocol.addresses import Node, node_address, split_identity
from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_names import METHOD_NAME, METHOD_STATUS
from edgehub.protocol.amqp_types import AmqpDecodeError, Int

if TYPE_CHECKING:
    from edgehub.protocol.amqp_events import Received
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession
    from edgehub.protocol.amqp_types import Value
    from edgehub.upstream.errors import UpstreamError

log = logging.getLogger(__name__)

CREDIT: Final = 50
"""Calls that the parent may have on their way to one identity."""


@dataclass(frozen=True, slots=True)
class MethodRequest:
    """One call of the parent hub.

    :ivar correlation_id: goes back as it came.
    """

    identity: str
    correlation_id: Value
    name: str
    payload: bytes


class MethodOwner(Protocol):
    """Hears calls."""

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method; `MethodChannel.answer` answers."""
        ...


class MethodChannel:
    """Both links on one session.

    :ivar identity: `device` or `device/module`.
    :ivar last_used: set by the owner.
    """

    def __init__(
        self, session: AmqpSession, identity: str, properties: dict[str, str], owner: MethodOwner
    ) -> None:
        self._owner = owner
        self.identity = identity
        self.last_used = 0.0
        self._open = True
        self._unanswered = 0
        self._unsent: list[bytes] = []
        address = node_address(Node.METHODS, *split_identity(identity))
        properties = {**properties, "com.microsoft:channel-correlation-id": f"methods:{uuid.uuid4()}"}
        self._session = session
        self._answers = session.attach_sender(
            "MethodsSenderLink", address, properties=properties, settled=True
        )
        self._requests = session.attach_receiver(
            "MethodsReceiverLink", address, properties=properties, credit=CREDIT
        )
        for link in (self._answers, self._requests):
            link.tag = self

    @property
    def waiting(self) -> int:
        """Calls that were not answered yet; each gives a credit back when it is."""
        return self._unanswered

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        self._flush()

    def on_credit(self) -> None:
        """The parent granted credit."""
        self._flush()

    def on_message(self, event: Received) -> None:
        """A call. What cannot be read, or answered, is passed over."""
        event.delivery.accept()
        try:
            message = decode_message(event.payload)
        except AmqpDecodeError as error:
            log.warning("the parent hub sent a method call that cannot be read: %s", error)
            self._requests.grant(1)
            return
        name = message.application_properties.get(METHOD_NAME)
        if not isinstance(name, str) or message.correlation_id is None:
            log.warning("the parent hub sent a method call without name or id to %s", self.identity)
            self._requests.grant(1)
            return
        self._unanswered += 1
        body = message.body if isinstance(message.body, bytes) else b""
        request = MethodRequest(self.identity, message.correlation_id, name, body)
        self._owner.method_request(self, request)

    def answer(self, request: MethodRequest, status: int, payload: bytes) -> bool:
        """Answers a call; False if the links are gone meanwhile."""
        if not self._open:
            return False
        self._unanswered -= 1
        self._requests.grant(1)
        self._unsent.append(
            encode_message(
                properties={"correlation_id": request.correlation_id},
                application_properties={METHOD_STATUS: Int(status)},
                data=payload,
            )
        )
        self._flush()
        return True

    def _flush(self) -> None:
        while self._unsent and self._answers.credit > 0:
            self._answers.send_settled(self._unsent.pop(0))

    def deadline(self) -> float | None:
        """Calls have a time-out of their own."""
        return None

    def on_deadline(self, now: float) -> None:
        """Nothing to do."""

    def fail(self, error: UpstreamError) -> None:
        """Closes the links: nobody hears the answers any more."""
        self._open = False
        self._unsent.clear()
        self._session.close()
