"""One AMQP connection to the hub: its sessions, links, tokens and identities. No sockets.

The owner feeds bytes, calls `on_deadline` in time and writes `outbound`. Anything that needs the registry
runs in the control queue: one task per connection, one operation after the other, so that a token put before
an attach is judged before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from edgehub.protocol import amqp_errors
from edgehub.protocol.addresses import SERVICE_NODES, AddressError, LinkAddress, Node, parse_address
from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import (
    ConnectionClosed,
    ConnectionOpened,
    Disposed,
    LinkAttached,
    LinkClosed,
    LinkCredit,
    Received,
    SaslPlain,
    SessionOpened,
    TransportFailed,
)
from edgehub.protocol.amqp_options import EngineOptions
from iothub.amqp.cbs_node import CbsNode
from iothub.amqp.link_access import CERTIFICATE_MECHANISM, LinkAccess
from iothub.amqp.nodes import EventsHandler, OutcomeHandler
from iothub.amqp.open_links import LinkEntry, OpenLinks
from iothub.amqp.rechecks import Rechecks
from iothub.amqp.service_links import ServiceLinks
from iothub.amqp.tokens import TokenRing, plain_name_fits
from iothub.auth import unauthorized
from iothub.errors import ErrorCode, HubError
from iothub.telemetry.event import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.protocol.amqp_types import Value
    from iothub.amqp.nodes import NodeHandler
    from iothub.amqp.services import AmqpServices
    from iothub.connections import IdentityKey

log = logging.getLogger(__name__)

SASL_MECHANISMS: Final = ("ANONYMOUS", "MSSBCBS", "PLAIN")
CLIENT_IDLE_MIN_MS: Final = 5000
"""A client that asks for heartbeats more often is refused (A-005)."""
HEARTBEAT_DEFAULT_MS: Final = 120_000
_WITH_CERTIFICATE: Final = (*SASL_MECHANISMS, CERTIFICATE_MECHANISM)
_EXPIRED: Final = "The token or certificate has expired."
BUSY_SHARE: Final = 0.25
"""Of the control queue; from there on a connection is not read, until it is shorter again."""


class HubConnection:
    """One connection.

    :param peer: address for logs.
    :param now: the monotonic clock at the start.
    :param touched: called when bytes may have to be written although none were fed.
    :param certificate: what the client showed in its TLS handshake (DER), if anything.
    """

    def __init__(
        self,
        services: AmqpServices,
        peer: str,
        now: float,
        touched: Callable[[], None],
        certificate: bytes | None = None,
    ) -> None:
        limits = services.limits
        self._services = services
        self._peer = peer
        self._touched = touched
        self.engine = AmqpEngine(
            EngineOptions(
                "server",
                services.container_id,
                heartbeat_default_ms=HEARTBEAT_DEFAULT_MS,
                sasl_mechanisms=SASL_MECHANISMS if certificate is None else _WITH_CERTIFICATE,
                message_bytes_max=limits.link_message_bytes_max,
            )
        )
        self._tokens = TokenRing(limits.tokens_max)
        self._service_links = ServiceLinks(services, self._tokens, self._enqueue, touched)
        self._links = OpenLinks(services, self, self._service_links, self._enqueue, touched)
        self._cbs = CbsNode(services.authorizer, self._tokens, self._enqueue, self._links.close_by_token)
        self._access = LinkAccess(services.authorizer, self._tokens, self.engine, certificate)
        self._rechecks = Rechecks(services.authorizer, self._tokens, self._links)
        self._control: deque[Coroutine[Any, Any, None]] = deque()
        self._control_task: asyncio.Task[None] | None = None
        self._open_by: float | None = now + limits.open_timeout_secs
        self.closing = False

    # ---- for the owner

    def feed(self, data: bytes) -> None:
        """Takes received bytes."""
        self.engine.feed(data)
        self._dispatch()

    @property
    def busy(self) -> bool:
        """Whether so many operations wait that no more should be read: a gateway that comes back attaches
        the links of all its clients at once. What was read already may still fill the queue, not more."""
        return len(self._control) >= self._services.limits.control_queue_max * BUSY_SHARE

    def feed_eof(self) -> None:
        """The peer closed its side."""
        self.engine.feed_eof()
        self._dispatch()

    def deadline(self, now: float) -> float | None:
        """When to call `on_deadline`, on the clock of `now`."""
        candidates = [self.engine.deadline(), self._open_by, self._rechecks.deadline(now)]
        expiry = self._tokens.next_expiry()
        if expiry is not None:
            candidates.append(now + max(0.0, expiry - self._services.clock()))
        return min((time for time in candidates if time is not None), default=None)

    def on_deadline(self, now: float) -> None:
        """Heartbeats, silent peers, connections that never opened, and expired tokens."""
        self.engine.on_deadline(now)
        if self._open_by is not None and now >= self._open_by:
            self.close(AmqpFault(amqp_errors.CONNECTION_FORCED, "the connection was not opened in time"))
        for key in self._tokens.expired(self._services.clock()):
            self._tokens.remove(key)
            self._links.close_by_token(key, unauthorized(_EXPIRED).fault())
        if self._rechecks.is_due(now):
            self._enqueue(self._rechecks.run())
        self._dispatch()

    def close(self, fault: AmqpFault | None = None) -> None:
        """Closes for a reason; the owner then writes what is left and closes the socket."""
        if not self.closing:
            self.closing = True
            self._open_by = None
            self.engine.close(fault)

    def dispose(self) -> None:
        """The socket is gone: gives up identities and waiting operations."""
        self.closing = True
        self._open_by = None
        if self._control_task is not None:
            self._control_task.cancel()
        for operation in self._control:
            operation.close()
        self._control.clear()
        self._links.drop_all()

    # ---- events

    def _dispatch(self) -> None:
        for event in self.engine.events():
            kind = type(event)
            if kind is Received:
                self._on_message(event)  # type: ignore[arg-type]
            else:
                self._on_rare(event)

    def _on_message(self, event: Received) -> None:
        entry = event.link.tag
        if isinstance(entry, LinkEntry):
            entry.handler.on_message(event)
        else:
            event.delivery.reject(AmqpFault(amqp_errors.NOT_ALLOWED, "the link is not open"))

    def _on_rare(self, event: Value) -> None:
        if isinstance(event, LinkAttached):
            self._enqueue(self._attach(event.link))
        elif isinstance(event, LinkCredit):
            if isinstance(event.link.tag, LinkEntry):
                event.link.tag.handler.on_credit()
        elif isinstance(event, Disposed):
            entry = event.delivery.link.tag
            if isinstance(entry, LinkEntry) and isinstance(entry.handler, OutcomeHandler):
                entry.handler.on_disposed(event)
        elif isinstance(event, LinkClosed):
            self._links.forget(event.link)
        elif isinstance(event, SessionOpened):
            event.session.open()
        elif isinstance(event, ConnectionOpened):
            self._on_open()
        elif isinstance(event, SaslPlain):
            self._enqueue(self._sasl_plain(event))
        elif isinstance(event, ConnectionClosed):
            self.close()
        elif isinstance(event, TransportFailed):
            self._services.stats.connections_failed += not self.closing
            self.closing = True
            self._open_by = None
            log.info("connection from %s failed: %s", self._peer, event.fault)

    def _on_open(self) -> None:
        self._open_by = None
        idle_ms = self.engine.remote_idle_timeout_ms
        if 0 < idle_ms < CLIENT_IDLE_MIN_MS:
            text = f"idle-time-out {idle_ms} ms is below {CLIENT_IDLE_MIN_MS} ms"
            self.close(AmqpFault(amqp_errors.NOT_ALLOWED, text))
        else:
            self.engine.open()

    # ---- control queue

    def _enqueue(self, operation: Coroutine[Any, Any, None]) -> None:
        if self.closing:
            operation.close()
            return
        if len(self._control) >= self._services.limits.control_queue_max:
            operation.close()
            self.close(AmqpFault(amqp_errors.RESOURCE_LIMIT, "too many operations are waiting"))
            return
        self._control.append(operation)
        if self._control_task is None:
            self._control_task = asyncio.ensure_future(self._run_control())

    async def _run_control(self) -> None:
        try:
            while self._control:
                try:
                    await self._control.popleft()
                except Exception:
                    log.exception("connection from %s: operation failed", self._peer)
                    self.close(AmqpFault(amqp_errors.INTERNAL_ERROR, "the hub has a fault"))
                self._touched()
        finally:
            self._control_task = None

    # ---- SASL

    async def _sasl_plain(self, event: SaslPlain) -> None:
        """`{device}[/modules/{module}]@sas.{hub}` or `{policy}@sas.root.{hub}` with a token (row 42)."""
        try:
            principal = await self._services.authorizer.principal(event.password)
            accepted = plain_name_fits(event.user, principal, self._services.hub_name)
        except HubError as error:
            log.info("connection from %s: SASL PLAIN refused: %s", self._peer, error)
            accepted = False
        if accepted:
            self._tokens.put(principal)
        self.engine.sasl_decide(accepted)
        self._dispatch()

    # ---- attach

    async def _attach(self, link: AmqpLink) -> None:
        """Judges an attach; the link gets its handler, or is refused with the reason."""
        if not link.locally_new or self.closing:
            return
        try:
            address = parse_address(link.remote_source if link.is_sender else link.remote_target)
            if address.node is Node.CBS:
                self._links.open(link, LinkEntry(self._cbs.handler(link), "cbs"))
            elif address.node in SERVICE_NODES:
                self._attach_service(link, address.node)
            else:
                await self._attach_identity(link, address)
        except AddressError as error:
            link.refuse(HubError(ErrorCode.AmqpAddressNotFound, str(error)).fault())
        except HubError as error:
            link.refuse(error.fault())

    def _attach_service(self, link: AmqpLink, node: Node) -> None:
        served = self._service_links.handler(link, node)
        if served is not None:
            self._links.open(link, LinkEntry(served, node.value))

    async def _attach_identity(self, link: AmqpLink, address: LinkAddress) -> None:
        key = (address.device_id, address.module_id)
        authorizer = self._services.authorizer
        epoch = authorizer.epoch
        access = await self._access.judge(link, key)
        identity = await authorizer.require_identity(*key)
        # The peer may have gone while the registry was asked.
        if not link.locally_new or self.closing:
            return
        if self._tokens.get(access.token) is None:
            raise unauthorized(_EXPIRED)
        if not _is_offered(link, address):
            what = "receive from" if link.is_sender else "send to"
            text = f"this hub does not let you {what} {address.node.value}"
            link.refuse(AmqpFault(amqp_errors.NOT_IMPLEMENTED, text))
            return
        served = self._links.serve(key)
        if address.node is Node.EVENTS:
            origin = Origin(*key, identity.generation_id, identity.auth_type)
            handler: NodeHandler = EventsHandler(link, origin, self._services, self._touched)
            kind = "events"
        else:
            handler, kind = served.handler(link, address.node)
        self._links.open_for(served, link, LinkEntry(handler, kind, key, access))
        if epoch != authorizer.epoch:
            # What changed while it was judged may have been about it.
            for device_id in (key[0], *(access.chain.devices if access.chain is not None else ())):
                self.identity_changed(device_id, None)

    # ---- word from the hub

    def evict(self, key: IdentityKey) -> None:
        """A newer connection has taken this identity over (row 39)."""
        fault = AmqpFault(amqp_errors.DETACH_FORCED, "a newer connection of this identity was opened")
        self._links.close_identity(key, fault)
        if not self._links.serves_any:
            self.close(AmqpFault(amqp_errors.CONNECTION_FORCED, fault.description))
        self._touched()

    def identity_changed(self, device_id: str, module_id: str | None) -> None:
        """The registry changed: what this connection relies on is checked again."""
        if self._rechecks.add(device_id):
            self._enqueue(self._rechecks.run())


def _is_offered(link: AmqpLink, address: LinkAddress) -> bool:
    if address.node is Node.EVENTS:
        return not link.is_sender
    if address.node is Node.DEVICE_BOUND:
        return link.is_sender and address.module_id is None
    return address.node in (Node.TWIN, Node.METHODS)
