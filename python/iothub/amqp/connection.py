"""One AMQP connection to the hub: its sessions, links, tokens and identities. No sockets.

The owner feeds bytes, calls `on_deadline` in time and writes `outbound`. Anything that needs the registry
runs in the control queue: one task per connection, one operation after the other, so that a token put before
an attach is judged before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
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
from edgehub.protocol.cbs import DELETE_TOKEN, CbsError, encode_response, parse_request
from edgehub.protocol.sas import SasError, parse_audience, parse_token
from iothub.amqp.nodes import CbsRequests, EventsHandler, NodeHandler, Outbox, OutcomeHandler
from iothub.amqp.served import ServedIdentity
from iothub.amqp.service_links import ServiceLinks
from iothub.amqp.tokens import TokenKey, TokenRing, plain_name_fits, token_key
from iothub.auth import access_denied, read_chain
from iothub.errors import ErrorCode, HubError
from iothub.telemetry.event import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.protocol.amqp_types import Value
    from iothub.amqp.services import AmqpServices
    from iothub.connections import IdentityKey

log = logging.getLogger(__name__)

SASL_MECHANISMS: Final = ("ANONYMOUS", "MSSBCBS", "PLAIN")
CLIENT_IDLE_MIN_MS: Final = 5000
"""A client that asks for heartbeats more often is refused (A-005)."""
CERTIFICATE_MECHANISM: Final = "EXTERNAL"
"""Offered to clients that showed a certificate in their TLS handshake."""
HEARTBEAT_DEFAULT_MS: Final = 120_000
_WITH_CERTIFICATE: Final = (*SASL_MECHANISMS, CERTIFICATE_MECHANISM)
_CHAIN_PROPERTY: Final = "com.microsoft:auth-chain"
_CBS_QUEUE_MAX: Final = 256
BUSY_SHARE: Final = 0.25
"""Of the control queue; from there on a connection is not read, until it is shorter again."""


@dataclass(frozen=True)
class _LinkEntry:
    """What the connection knows about an open link.

    :ivar key: identity, None for `$cbs`.
    :ivar token: token that the link lives by.
    """

    handler: NodeHandler
    kind: str
    key: IdentityKey | None = None
    token: TokenKey | None = None


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
        self._certificate = certificate
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
        self._identities: dict[IdentityKey, ServedIdentity] = {}
        self._service_links = ServiceLinks(services, self._tokens, self._enqueue, touched)
        self._cbs_outbox: Outbox | None = None
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
        candidates = [self.engine.deadline(), self._open_by]
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
            self._detach_by_token(
                key, HubError(ErrorCode.IotHubUnauthorized, "The token or certificate has expired.").fault()
            )
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
        for key in list(self._identities):
            self._drop_identity(key)
        for link in self._service_links.all():
            self._forget_link(link)

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
        if isinstance(entry, _LinkEntry):
            entry.handler.on_message(event)
        else:
            event.delivery.reject(AmqpFault(amqp_errors.NOT_ALLOWED, "the link is not open"))

    def _on_rare(self, event: Value) -> None:
        if isinstance(event, LinkAttached):
            self._enqueue(self._attach(event.link))
        elif isinstance(event, LinkCredit):
            if isinstance(event.link.tag, _LinkEntry):
                event.link.tag.handler.on_credit()
        elif isinstance(event, Disposed):
            entry = event.delivery.link.tag
            if isinstance(entry, _LinkEntry) and isinstance(entry.handler, OutcomeHandler):
                entry.handler.on_disposed(event)
        elif isinstance(event, LinkClosed):
            self._forget_link(event.link)
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

    # ---- SASL and CBS

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

    async def _cbs(self, payload: bytes) -> None:
        try:
            request = parse_request(payload)
        except CbsError as error:
            self._answer_cbs(error.message_id, error.status, str(error))
            return
        if request.operation == DELETE_TOKEN:
            self._delete_token(request.name)
            self._answer_cbs(request.message_id, 200, "OK")
            return
        try:
            parse_token(request.token)
            principal = await self._services.authorizer.principal(request.token, request.name)
        except SasError as error:
            self._answer_cbs(request.message_id, 400, str(error))
        except HubError as error:
            self._answer_cbs(request.message_id, error.code.http_status, error.message)
        else:
            if self._tokens.put(principal):
                self._answer_cbs(request.message_id, 200, "OK")
            else:
                self._answer_cbs(request.message_id, 403, "too many tokens on this connection")

    def _delete_token(self, name: str) -> None:
        try:
            identities = parse_audience(name).identities()
        except SasError:
            return
        for device_id, module_id in identities:
            token = ("identity", device_id, module_id or "")
            self._tokens.remove(token)
            self._detach_by_token(token, access_denied("The token was deleted.").fault())

    def _answer_cbs(self, message_id: Value, status: int, description: str) -> None:
        if self._cbs_outbox is not None:
            self._cbs_outbox.send(encode_response(message_id, status, description))

    # ---- attach

    async def _attach(self, link: AmqpLink) -> None:
        """Judges an attach; the link gets its handler, or is refused with the reason."""
        if not link.locally_new or self.closing:
            return
        try:
            address = parse_address(link.remote_source if link.is_sender else link.remote_target)
            if address.node is Node.CBS:
                self._attach_cbs(link)
            elif address.node in SERVICE_NODES:
                self._attach_service(link, address.node)
            else:
                await self._attach_identity(link, address)
        except AddressError as error:
            link.refuse(HubError(ErrorCode.AmqpAddressNotFound, str(error)).fault())
        except HubError as error:
            link.refuse(error.fault())

    def _attach_cbs(self, link: AmqpLink) -> None:
        if link.is_sender:
            self._cbs_outbox = Outbox(link, _CBS_QUEUE_MAX)
            self._open_link(link, _LinkEntry(self._cbs_outbox, "cbs-out"))
            self._cbs_outbox.on_credit()
        else:
            handler = CbsRequests(link, self._enqueue, self._cbs)
            self._open_link(link, _LinkEntry(handler, "cbs-in"))

    def _attach_service(self, link: AmqpLink, node: Node) -> None:
        served = self._service_links.handler(link, node)
        if served is not None:
            self._open_link(link, _LinkEntry(served[0], node.value, token=served[1]))

    async def _attach_identity(self, link: AmqpLink, address: LinkAddress) -> None:
        key = (address.device_id, address.module_id)
        token = await self._authorize(link, key)
        identity = await self._services.authorizer.require_identity(*key)
        # The peer may have gone, or the token may have ended, while the registry was asked.
        if not link.locally_new or self.closing:
            return
        events = address.node is Node.EVENTS and not link.is_sender
        messages = address.node is Node.DEVICE_BOUND and link.is_sender and address.module_id is None
        if not events and not messages and address.node not in (Node.TWIN, Node.METHODS):
            what = "receive from" if link.is_sender else "send to"
            text = f"this hub does not let you {what} {address.node.value}"
            link.refuse(AmqpFault(amqp_errors.NOT_IMPLEMENTED, text))
            return
        served = self._identities.get(key)
        if served is None:
            served = ServedIdentity(key, self._services, self._touched, self._enqueue)
            self._identities[key] = served
            self._services.connections.claim(key, self)
        handler: NodeHandler
        if events:
            origin = Origin(*key, identity.generation_id, identity.auth_type)
            handler, kind = EventsHandler(link, origin, self._services, self._touched), "events"
        elif messages:
            handler, kind = served.messages_handler(link)
        elif address.node is Node.TWIN:
            handler, kind = served.twin_handler(link)
        else:
            handler, kind = served.method_handler(link)
        self._open_identity_link(link, _LinkEntry(handler, kind, key, token), served)

    async def _authorize(self, link: AmqpLink, key: IdentityKey) -> TokenKey:
        """Token that lets this link be for this identity.

        :raises HubError: 401002 or 401003.
        """
        chain_text = link.remote_properties.get(_CHAIN_PROPERTY)
        if isinstance(chain_text, str) and chain_text:
            chain = read_chain(chain_text)
            if not chain.is_for(*key):
                raise access_denied("The auth chain is for another identity.")
            token = self._tokens.for_chain(chain)
            if token is None:
                raise access_denied(f"The connection has no token of {chain.actor}/$edgeHub.")
            await self._services.authorizer.verify_chain(chain)
            return token
        own = self._tokens.for_identity(*key)
        if own is None:
            own = await self._authorize_by_certificate(key)
        return own

    async def _authorize_by_certificate(self, key: IdentityKey) -> TokenKey:
        """For a client that came with EXTERNAL, or without SASL; any other means to put a token (A-039).

        :raises HubError: 401002 or 401003.
        """
        if self._certificate is None or self.engine.sasl_mechanism not in (None, CERTIFICATE_MECHANISM):
            raise access_denied("The connection has no token for this identity.")
        principal = await self._services.authorizer.certificate_principal(self._certificate, *key)
        if not self._tokens.put(principal):
            raise access_denied("There are too many identities on this connection.")
        return token_key(principal)

    def _open_identity_link(self, link: AmqpLink, entry: _LinkEntry, served: ServedIdentity) -> None:
        previous = served.links.get(entry.kind)
        served.links[entry.kind] = link
        if previous is not None:
            text = "a newer link of the same kind was opened"
            self._close_link(previous, AmqpFault(amqp_errors.LINK_STOLEN, text), keep_identity=True)
            served.links[entry.kind] = link
        self._open_link(link, entry)

    def _open_link(self, link: AmqpLink, entry: _LinkEntry) -> None:
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

    # ---- detach

    def _close_link(self, link: AmqpLink, fault: AmqpFault, *, keep_identity: bool = False) -> None:
        link.close(fault)
        self._forget_link(link, keep_identity=keep_identity)

    def _forget_link(self, link: AmqpLink, *, keep_identity: bool = False) -> None:
        entry, link.tag = link.tag, None
        if not isinstance(entry, _LinkEntry):
            return
        entry.handler.on_closed()
        self._service_links.forget(link)
        if entry.handler is self._cbs_outbox:
            self._cbs_outbox = None
        if entry.key is None or entry.key not in self._identities:
            return
        served = self._identities[entry.key]
        if served.links.get(entry.kind) is link:
            del served.links[entry.kind]
        if not keep_identity:
            self._drop_if_unused(entry.key)

    def _drop_if_unused(self, key: IdentityKey) -> None:
        served = self._identities.get(key)
        if served is not None and not served.links:
            self._drop_identity(key)

    def _drop_identity(self, key: IdentityKey) -> None:
        served = self._identities.pop(key)
        served.close()
        self._services.connections.release(key, self)

    def _detach_identity(self, key: IdentityKey, fault: AmqpFault) -> None:
        served = self._identities.get(key)
        for link in list(served.links.values()) if served else ():
            self._close_link(link, fault)

    def _detach_by_token(self, token: TokenKey, fault: AmqpFault) -> None:
        """Links that lived by a token go; the connection and other identities stay (row 37)."""
        for served in list(self._identities.values()):
            for link in list(served.links.values()):
                if isinstance(link.tag, _LinkEntry) and link.tag.token == token:
                    self._close_link(link, fault)
        for link in self._service_links.of_token(token):
            self._close_link(link, fault)

    # ---- word from the hub

    def evict(self, key: IdentityKey) -> None:
        """A newer connection has taken this identity over (row 39)."""
        fault = AmqpFault(amqp_errors.DETACH_FORCED, "a newer connection of this identity was opened")
        self._detach_identity(key, fault)
        self._identities.pop(key, None)
        if not self._identities:
            self.close(AmqpFault(amqp_errors.CONNECTION_FORCED, fault.description))
        self._touched()

    def identity_changed(self, device_id: str, module_id: str | None) -> None:
        """The registry changed: what this connection relies on is checked again."""
        touched = [key for key in self._identities if key[0] == device_id and module_id in (None, key[1])]
        if touched or self._tokens.of_device(device_id):
            self._enqueue(self._recheck(device_id, touched))

    async def _recheck(self, device_id: str, keys: list[IdentityKey]) -> None:
        authorizer = self._services.authorizer
        for token, principal in self._tokens.of_device(device_id):
            error = await authorizer.still_valid(principal)
            current = self._tokens.get(token)
            if error is not None and current is principal and token_key(current) == token:
                self._tokens.remove(token)
                self._detach_by_token(token, error.fault())
        for key in keys:
            try:
                await authorizer.require_identity(*key)
            except HubError as error:
                self._detach_identity(key, error.fault())
