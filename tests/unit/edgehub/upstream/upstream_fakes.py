"""Stand-ins for both ends of the link: a source of messages, and a hub on a fake wire."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgehub.protocol.amqp_batch import BATCH_FORMAT, join_batch, split_batch
from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import ConnectionOpened, LinkAttached, LinkClosed, Received, SessionOpened
from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_options import EngineOptions
from edgehub.protocol.cbs import encode_response, parse_request
from edgehub.upstream.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.upstream.source import Settlement


@dataclass(frozen=True)
class Batch:
    """One lent batch."""

    token: int
    sender: str
    count: int
    payload: bytes
    message_format: int


class FakeSource:
    """Queues per sender, with the promises of the core: one batch per sender at a time, order kept."""

    def __init__(self) -> None:
        self.queues: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self.lent: dict[int, tuple[str, list[bytes]]] = {}
        self.settled: list[tuple[str, int, str]] = []
        self.links_down = 0
        self._token = 0

    def put(self, sender: str, *bodies: bytes) -> None:
        """Queues one message per body."""
        self.queues[sender].extend(encode_message(data=body) for body in bodies)

    def take(self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int) -> list[Batch]:
        busy = {sender for sender, _ in self.lent.values()}
        ready = [sender for sender, queue in self.queues.items() if queue and sender not in busy]
        return [self._lend(sender, batch_msgs_max, batch_bytes_max) for sender in ready[:senders_max]]

    def _lend(self, sender: str, msgs_max: int, bytes_max: int) -> Batch:
        queue = self.queues[sender]
        messages = [queue.popleft()]
        while queue and len(messages) < msgs_max and sum(map(len, messages)) + len(queue[0]) <= bytes_max:
            messages.append(queue.popleft())
        self._token += 1
        self.lent[self._token] = (sender, messages)
        if len(messages) == 1:
            return Batch(self._token, sender, 1, messages[0], 0)
        return Batch(self._token, sender, len(messages), join_batch(messages), BATCH_FORMAT)

    def settle(self, token: int, outcome: Settlement) -> None:
        sender, messages = self.lent.pop(token)
        self.settled.append((sender, len(messages), outcome))
        if outcome == "retry":
            self.queues[sender].extendleft(reversed(messages))

    def link_down(self) -> None:
        self.links_down += 1
        for token in sorted(self.lent, reverse=True):
            sender, messages = self.lent.pop(token)
            self.queues[sender].extendleft(reversed(messages))

    @property
    def empty(self) -> bool:
        """Whether nothing is queued or lent."""
        return not self.lent and not any(self.queues.values())


class FakeTokens:
    """Tokens that need no key."""

    audience = "hub.example.test/devices/edge1/modules/%24edgeHub"

    def __init__(self, expires_at: float = 3600.0) -> None:
        self.expires_at = expires_at
        self.dropped = 0

    async def get(self) -> Token:
        return Token(f"token-{self.dropped}", self.expires_at)

    def drop(self) -> None:
        self.dropped += 1


@dataclass
class Hub:
    """A hub over a server engine: answers as its hooks say and remembers what came.

    :ivar on_transfer: decides about a transfer; None accepts, a fault rejects, `release` and `ignore` do
        that.
    :ivar refuse: attach addresses to refuse, with the fault.
    """

    engine: AmqpEngine = field(
        default_factory=lambda: AmqpEngine(EngineOptions("server", "hub", sasl_mechanisms=("ANONYMOUS",)))
    )
    cbs_status: int = 200
    credit: int = 10
    message_bytes_max: int = 0
    on_transfer: Callable[[str, list[bytes]], AmqpFault | str | None] = lambda _sender, _bodies: None
    refuse: dict[str, AmqpFault] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    received: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    transfers: list[tuple[str, int, int]] = field(default_factory=list)
    links: dict[str, AmqpLink] = field(default_factory=dict)
    properties: dict[str, dict[Any, Any]] = field(default_factory=dict)
    twin: list[Any] = field(default_factory=list)
    answer_twin: bool = True
    twin_status: int | None = None
    mute: bool = False
    closed: list[str] = field(default_factory=list)

    def handle(self) -> None:
        """Acts on what was fed."""
        for event in self.engine.events():
            if isinstance(event, ConnectionOpened):
                self.engine.open()
            elif isinstance(event, SessionOpened):
                event.session.open()
            elif isinstance(event, LinkAttached):
                self._attach(event.link)
            elif isinstance(event, Received):
                self._message(event)
            elif isinstance(event, LinkClosed):
                self.closed.append(str(event.link.tag))

    def _attach(self, link: AmqpLink) -> None:
        address = (link.remote_source if link.is_sender else link.remote_target) or ""
        link.tag = address
        self.properties[address] = link.remote_properties
        if address in self.refuse:
            link.refuse(self.refuse[address])
            return
        self.links[("<" if link.is_sender else ">") + address] = link
        link.open(message_bytes_max=self.message_bytes_max)
        link.grant(self.credit)

    def _message(self, event: Received) -> None:
        address = str(event.link.tag)
        if self.mute:
            return
        if address == "$cbs":
            event.delivery.accept()
            request = parse_request(event.payload)
            self.tokens.append(request.token)
            answer = encode_response(request.message_id, self.cbs_status, "described")
            self.links["<$cbs"].send_settled(answer)
        elif address.endswith("/twin"):
            event.delivery.accept()
            self._twin(address, event.payload)
        else:
            self._telemetry(event, address)
        event.link.grant(1)

    def _twin(self, address: str, payload: bytes) -> None:
        message = decode_message(payload)
        operation = message.annotations["operation"]
        self.twin.append((operation, message.body))
        if not self.answer_twin:
            return
        body = b'{"desired":{"a":1,"$version":4},"reported":{"$version":1}}' if operation == "GET" else b""
        status = self.twin_status or (204 if operation == "PATCH" else 200)
        reply = encode_message(
            annotations={"status": status}, properties={"correlation_id": message.correlation_id}, data=body
        )
        self.links["<" + address].send_settled(reply)

    def push_desired(self, body: bytes, address: str = "/devices/edge1/modules/%24edgeHub/twin") -> None:
        """Sends a desired notification, by default to our `$edgeHub`."""
        annotations = {"resource": "/notifications/twin/properties/desired", "version": 7}
        link = self.links["<" + address]
        link.send_settled(encode_message(annotations=annotations, data=body))

    def _telemetry(self, event: Received, address: str) -> None:
        payload = event.payload
        extents = split_batch(payload) if event.message_format == BATCH_FORMAT else [(0, len(payload))]
        bodies = [decode_message(payload, start, end).body for start, end in extents]
        self.transfers.append((address, event.message_format, len(bodies)))
        decision = self.on_transfer(address, bodies)
        if decision is None:
            self.received[address].extend(bodies)
            event.delivery.accept()
        elif isinstance(decision, AmqpFault):
            event.delivery.reject(decision)
        elif decision == "release":
            event.delivery.release()
