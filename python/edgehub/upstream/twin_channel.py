"""The twin of one identity over two links: requests with answers, and desired patches. Sans-IO (iothub spec
1.4.7)."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgehub.protocol.addresses import Node, node_address, split_identity
from edgehub.protocol.amqp_message import AmqpMessage, decode_message, encode_message
from edgehub.protocol.amqp_names import DESIRED_RESOURCE, REPORTED_RESOURCE
from edgehub.protocol.amqp_types import AmqpDecodeError
from edgehub.upstream.errors import UpstreamError, UpstreamRefused, UpstreamTimeout

if TYPE_CHECKING:
    from edgehub.protocol.amqp_events import Received
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession

log = logging.getLogger(__name__)

CREDIT: Final = 50


@dataclass(frozen=True, slots=True)
class TwinAnswer:
    """What the parent answered.

    :ivar body: JSON of the twin for a GET, else empty.
    """

    status: int
    version: int | None
    body: bytes


class TwinOwner(Protocol):
    """Hears results."""

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A request ended."""
        ...

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """Desired properties of an identity changed."""
        ...

    def operation_succeeded(self) -> None:
        """The parent answered."""
        ...

    def operation_timed_out(self, started_at: float) -> None:
        """The parent did not answer in time."""
        ...


class TwinChannel:
    """Both links on one session.

    :param identity: `device` or `device/module`.
    :param properties: of both links.
    :param request_timeout_s: for each request.
    :ivar last_used: set by the owner.
    :ivar subscribed: whether desired patches were asked for.
    """

    def __init__(
        self,
        session: AmqpSession,
        identity: str,
        properties: dict[str, str],
        owner: TwinOwner,
        request_timeout_s: float,
    ) -> None:
        self._owner = owner
        self.identity = identity
        self.last_used = 0.0
        self.subscribed = False
        self._timeout_s = request_timeout_s
        self._waiting: dict[str, tuple[int, float]] = {}
        self._unsent: list[bytes] = []
        self._attached: set[int] = set()
        address = node_address(Node.TWIN, *split_identity(identity))
        properties = {**properties, "com.microsoft:channel-correlation-id": f"twin:{uuid.uuid4()}"}
        self._session = session
        self._requests = session.attach_sender("TwinSenderLink", address, properties=properties, settled=True)
        self._answers = session.attach_receiver(
            "TwinReceiverLink", address, properties=properties, credit=CREDIT
        )
        for link in (self._requests, self._answers):
            link.tag = self

    @property
    def waiting(self) -> int:
        """Requests without answer."""
        return len(self._waiting)

    def get(self, request: int, now: float) -> None:
        """Reads the twin; the number comes back in `twin_done`."""
        self._request(request, now, {"operation": "GET"}, b" ")

    def report(self, request: int, now: float, patch: bytes) -> None:
        """Sends a reported patch (JSON)."""
        self._request(
            request, now, {"operation": "PATCH", "resource": REPORTED_RESOURCE, "version": None}, patch
        )

    def subscribe(self, request: int, now: float, *, wanted: bool) -> None:
        """Asks for desired patches, or no longer."""
        self.subscribed = wanted
        operation = "PUT" if wanted else "DELETE"
        annotations = {"operation": operation, "resource": DESIRED_RESOURCE, "version": None}
        self._request(request, now, annotations, b" ")

    def _request(self, request: int, now: float, annotations: dict[str, Any], body: bytes) -> None:
        correlation_id = f"{annotations['operation'].capitalize()}{uuid.uuid4()}"
        self._waiting[correlation_id] = (request, now + self._timeout_s)
        message = encode_message(
            annotations=annotations, properties={"correlation_id": correlation_id}, data=body
        )
        self._unsent.append(message)
        self._flush()

    def _flush(self) -> None:
        # Both links must stand, or the answer would have nowhere to go.
        if len(self._attached) < 2:
            return
        while self._unsent and self._requests.credit > 0:
            self._requests.send_settled(self._unsent.pop(0))

    def on_attached(self, link: AmqpLink) -> None:
        """The parent answered an attach."""
        if not link.remote_refused:
            self._attached.add(link.key)
            self._flush()

    def on_credit(self) -> None:
        """The parent granted credit."""
        self._flush()

    def on_message(self, event: Received) -> None:
        """An answer or a desired patch."""
        event.delivery.accept()
        self._answers.grant(1)
        try:
            message = decode_message(event.payload)
        except AmqpDecodeError as error:
            log.warning("the parent hub sent a twin message that cannot be read: %s", error)
            return
        self._owner.operation_succeeded()
        if message.correlation_id is None:
            self._on_desired(message)
            return
        request = self._waiting.pop(str(message.correlation_id), None)
        if request is not None:
            self._owner.twin_done(request[0], _answer_of(message))

    def _on_desired(self, message: AmqpMessage) -> None:
        resource = message.annotations.get("resource", DESIRED_RESOURCE)
        if resource != DESIRED_RESOURCE:
            return
        try:
            patch = json.loads(message.body) if isinstance(message.body, bytes) else None
        except (ValueError, RecursionError):
            patch = None
        if not isinstance(patch, dict):
            log.warning("the parent hub sent a desired patch that is not a JSON object; it is ignored")
            return
        version = message.annotations.get("version")
        if "$version" not in patch and isinstance(version, int):
            patch["$version"] = int(version)
        self._owner.desired_patch(self.identity, patch)

    def deadline(self) -> float | None:
        """When the first request times out."""
        return min((deadline for _, deadline in self._waiting.values()), default=None)

    def on_deadline(self, now: float) -> None:
        """Fails requests whose time is over."""
        for correlation_id, (request, deadline) in list(self._waiting.items()):
            if deadline <= now:
                del self._waiting[correlation_id]
                self._owner.twin_done(
                    request, UpstreamTimeout("the parent hub did not answer a twin request in time")
                )
                self._owner.operation_timed_out(deadline - self._timeout_s)

    def fail(self, error: UpstreamError) -> None:
        """Closes the links; everything that waits fails."""
        waiting, self._waiting = self._waiting, {}
        self._unsent.clear()
        self._session.close()
        for request, _ in waiting.values():
            self._owner.twin_done(request, error)


def _answer_of(message: AmqpMessage) -> TwinAnswer | UpstreamError:
    status = message.annotations.get("status")
    body = message.body if isinstance(message.body, bytes) else b""
    if not isinstance(status, int):
        return UpstreamError("the parent hub answered a twin request without status")
    if status >= 300:
        text = body[:300].decode("utf-8", "replace")
        return UpstreamRefused(
            f"the parent hub answered a twin request with {int(status)}: {text}", int(status)
        )
    version = message.annotations.get("version")
    return TwinAnswer(int(status), int(version) if isinstance(version, int) else None, body)
