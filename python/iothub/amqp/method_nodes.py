"""Direct methods over AMQP: requests on one link, answers on its partner (section 1.4.6; rows 30 to 32)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from edgehub.common.method_calls import MethodAnswer, MethodCall
from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_names import METHOD_NAME, METHOD_STATUS
from edgehub.protocol.amqp_types import AmqpDecodeError
from iothub.amqp.nodes import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_events import Received
    from edgehub.protocol.amqp_handles import AmqpLink
    from iothub.amqp.services import AmqpServices
    from iothub.connections import IdentityKey


log = logging.getLogger(__name__)


class MethodChannel:
    """One identity's methods. It can be called while its requests' link stands."""

    def __init__(self, key: IdentityKey, services: AmqpServices, touched: Callable[[], None]) -> None:
        self._key = key
        self._services = services
        self._touched = touched
        self._outbox: Outbox | None = None
        self._detach: Callable[[], None] | None = None

    def attach_outbox(self, link: AmqpLink) -> Outbox:
        """The requests' link."""
        self.close()
        self._outbox = Outbox(link, self._services.limits.method_queue_max, self._outbox_closed)
        self._detach = self._services.methods.attach(self._key, self._send)
        return self._outbox

    def _outbox_closed(self, outbox: Outbox) -> None:
        if outbox is self._outbox:
            self._outbox = None
            self.close()

    def close(self) -> None:
        """Nobody is called any more."""
        if self._detach is not None:
            self._detach()
            self._detach = None

    def _send(self, request_id: str, call: MethodCall) -> None:
        if self._outbox is None:
            return
        self._outbox.send(
            encode_message(
                properties={"correlation_id": UUID(request_id)},
                application_properties={METHOD_NAME: call.name},
                data=call.payload,
            )
        )
        self._touched()

    def answered(self, payload: bytes) -> None:
        """An answer; what has no id or status is ignored.

        :raises AmqpDecodeError: it cannot be read.
        """
        message = decode_message(payload)
        status = message.application_properties.get(METHOD_STATUS)
        if message.correlation_id is None or not isinstance(status, int) or isinstance(status, bool):
            log.info("method answer of %s without id or status", self._key)
            return
        body = message.body if isinstance(message.body, bytes) else b""
        self._services.methods.answered(
            self._key, str(message.correlation_id), MethodAnswer(int(status), body)
        )


class MethodAnswers:
    """Client to hub: answers."""

    def __init__(self, link: AmqpLink, channel: MethodChannel) -> None:
        self._link = link
        self._channel = channel

    def on_message(self, event: Received) -> None:
        """Settles at once."""
        try:
            self._channel.answered(event.payload)
        except AmqpDecodeError as error:
            event.delivery.reject(AmqpFault(amqp_errors.DECODE_ERROR, str(error)))
        else:
            event.delivery.accept()
        self._link.grant(1)

    def on_credit(self) -> None:
        """Nothing waits for credit."""

    def on_closed(self) -> None:
        """Calls that wait for an answer end by their time-out, or with the requests' link."""
