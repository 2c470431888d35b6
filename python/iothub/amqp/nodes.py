"""What stands behind a link: one small handler per node of the address table.

A handler gets the messages of its link and is told when the link is gone. It never blocks: what needs the
registry or a twin goes through the connection's control queue, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_message import AmqpMessage, decode_message, encode_message
from edgehub.protocol.amqp_names import DESIRED_RESOURCE, REPORTED_RESOURCE
from edgehub.protocol.amqp_types import AmqpDecodeError, Int
from iothub import jsonio
from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.telemetry.event import Origin, count_messages
from iothub.telemetry.log import Append

if TYPE_CHECKING:
    from edgehub.protocol.amqp_events import Disposed, Received
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink
    from iothub.amqp.services import AmqpServices
    from iothub.connections import IdentityKey

STORE_FAILED: Final = AmqpFault(amqp_errors.INTERNAL_ERROR, "the message could not be stored; send it again")
Enqueue = Callable[[Coroutine[Any, Any, None]], None]


class NodeHandler(Protocol):
    """One link's handler."""

    def on_message(self, event: Received) -> None:
        """A message came on this link."""

    def on_credit(self) -> None:
        """The peer grants credit for a link we send on."""

    def on_closed(self) -> None:
        """The link is gone."""


@runtime_checkable
class OutcomeHandler(Protocol):
    """Handler of a link whose messages the peer settles."""

    def on_disposed(self, event: Disposed) -> None:
        """The peer decided about a message."""


class _Handler:
    def on_message(self, event: Received) -> None:
        event.delivery.reject(AmqpFault(amqp_errors.NOT_ALLOWED, "this link takes no messages"))

    def on_credit(self) -> None:
        """Nothing waits for credit."""

    def on_closed(self) -> None:
        """Nothing to clean up."""


class EventsHandler(_Handler):
    """Telemetry: accepted only after the commit that holds it.

    :param touched: called after a disposition that was not caused by input, so that bytes get written.
    """

    def __init__(
        self, link: AmqpLink, origin: Origin, services: AmqpServices, touched: Callable[[], None]
    ) -> None:
        self._link = link
        self._origin = origin
        self._services = services
        self._touched = touched

    def on_message(self, event: Received) -> None:
        """Checks the transfer and hands it to the log."""
        services = self._services
        try:
            count = count_messages(event.payload, event.message_format, services.limits.message_bytes_max)
        except HubError as error:
            services.stats.transfers_rejected += 1
            event.delivery.reject(error.fault())
            self._link.grant(1)
            return
        delivery = event.delivery

        def done(failure: Exception | None) -> None:
            self._on_stored(delivery, count, failure)

        now_ms = int(services.clock() * 1000)
        services.telemetry.append(
            Append(self._origin, event.message_format, count, event.payload, now_ms, done)
        )

    def _on_stored(self, delivery: AmqpDelivery, count: int, failure: Exception | None) -> None:
        if failure is None:
            self._services.stats.events_accepted += count
            delivery.accept()
        else:
            self._services.stats.transfers_rejected += 1
            delivery.reject(STORE_FAILED)
        self._link.grant(1)
        self._touched()


class CbsRequests(_Handler):
    """Client to `$cbs`: requests, answered in order by the connection."""

    def __init__(
        self, link: AmqpLink, enqueue: Enqueue, serve: Callable[[bytes], Coroutine[Any, Any, None]]
    ) -> None:
        self._link = link
        self._enqueue = enqueue
        self._serve = serve

    def on_message(self, event: Received) -> None:
        """Settles at once; the answer is a message of its own."""
        event.delivery.accept()
        self._link.grant(1)
        self._enqueue(self._serve(event.payload))


class Outbox(_Handler):
    """A link we send settled messages on; they wait for credit.

    :param queue_max: messages waiting; one more closes the link.
    :param on_closed: told when the link is gone, with this outbox: there may be a newer one.
    """

    def __init__(self, link: AmqpLink, queue_max: int, on_closed: Callable[[Outbox], None]) -> None:
        self._link = link
        self._queue_max = queue_max
        self._waiting: deque[bytes] = deque()
        self._on_closed = on_closed
        self._closed = False

    def send(self, payload: bytes) -> None:
        """Sends now or when credit comes."""
        if self._closed:
            return
        if not self._waiting and self._link.credit > 0:
            self._link.send_settled(payload)
        elif len(self._waiting) >= self._queue_max:
            text = f"{self._queue_max} messages wait for credit on this link"
            self._link.close(AmqpFault(amqp_errors.RESOURCE_LIMIT, text))
            self.on_closed()
        else:
            self._waiting.append(payload)

    def on_credit(self) -> None:
        """Sends what waited."""
        while self._waiting and self._link.credit > 0:
            self._link.send_settled(self._waiting.popleft())

    def on_closed(self) -> None:
        """Whatever waited is lost with the link; a twin client reads the whole twin again."""
        self._closed = True
        self._waiting.clear()
        self._on_closed(self)


def correlation_pair(link: AmqpLink) -> str:
    """What pairs the two halves of a twin channel: `twin:<guid>` without its prefix, or nothing."""
    value = link.remote_properties.get("com.microsoft:channel-correlation-id")
    return value.partition(":")[2] if isinstance(value, str) else ""


class TwinChannel:
    """One identity's twin: requests on one link, answers and desired patches on its partner."""

    def __init__(self, key: IdentityKey, services: AmqpServices, touched: Callable[[], None]) -> None:
        self._key = key
        self._services = services
        self._touched = touched
        self.outbox: Outbox | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def attach_outbox(self, link: AmqpLink) -> Outbox:
        """The answers' link. What another one subscribed to ends."""
        self.unsubscribe()
        self.outbox = Outbox(link, self._services.limits.twin_queue_max, self._outbox_closed)
        return self.outbox

    def _outbox_closed(self, outbox: Outbox) -> None:
        if outbox is self.outbox:
            self.outbox = None
            self.unsubscribe()

    def unsubscribe(self) -> None:
        """Ends desired notifications."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _subscribe(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._services.twins.subscribe(*self._key, self._on_desired)

    def _on_desired(self, patch: dict[str, Any], version: int) -> None:
        """A notification has no correlation-id (section 1.4.7)."""
        body = jsonio.encode({**patch, "$version": version})
        annotations = {"resource": DESIRED_RESOURCE, "version": version}
        self._send(encode_message(annotations=annotations, data=body))
        self._touched()

    def _send(self, payload: bytes) -> None:
        if self.outbox is not None:
            self.outbox.send(payload)

    async def serve(self, payload: bytes) -> None:
        """Answers one request. A request without correlation-id is done without an answer."""
        try:
            request = decode_message(payload)
        except AmqpDecodeError:
            return
        try:
            status, version, body = await self._perform(request)
        except HubError as error:
            status, version = error.code.http_status, None
            body = jsonio.encode(error.body(self._services.clock(), structured=True))
        if request.correlation_id is None:
            return
        annotations: dict[str, Any] = {"status": Int(status)}
        if version is not None:
            annotations["version"] = version
        self._send(
            encode_message(
                annotations=annotations, properties={"correlation_id": request.correlation_id}, data=body
            )
        )

    async def _perform(self, request: AmqpMessage) -> tuple[int, int | None, bytes]:
        operation = str(request.annotations.get("operation", "")).upper()
        resource = request.annotations.get("resource")
        if operation == "GET":
            twin = await self._services.twins.get(*self._key)
            return 200, None, jsonio.encode(twin.device_view())
        if operation == "PATCH":
            return await self._report(request)
        if operation in ("PUT", "DELETE") and resource in (None, DESIRED_RESOURCE):
            if operation == "PUT":
                self._subscribe()
            else:
                self.unsubscribe()
            return 200, None, b""
        raise argument_invalid(f"operation {operation!r} on {resource!r} is not known.")

    async def _report(self, request: AmqpMessage) -> tuple[int, int | None, bytes]:
        resource = request.annotations.get("resource")
        if resource not in (None, REPORTED_RESOURCE):
            raise argument_invalid(f"only {REPORTED_RESOURCE} can be patched, not {resource!r}.")
        version = request.annotations.get("version")
        if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
            raise HubError(ErrorCode.ArgumentInvalid, "the annotation version must be a number.")
        body = request.body if isinstance(request.body, bytes) else b""
        patch = jsonio.parse_object(body, "the reported patch")
        twin = await self._services.twins.report(*self._key, patch, None if version is None else int(version))
        return 204, twin.reported.version, b""


class TwinRequests(_Handler):
    """Client to hub: twin requests."""

    def __init__(self, link: AmqpLink, channel: TwinChannel, enqueue: Enqueue) -> None:
        self._link = link
        self._channel = channel
        self._enqueue = enqueue

    def on_message(self, event: Received) -> None:
        """Settles at once and queues the request."""
        event.delivery.accept()
        self._link.grant(1)
        self._enqueue(self._channel.serve(event.payload))
