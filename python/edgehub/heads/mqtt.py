"""The MQTT head: decides on CONNECT, SUBSCRIBE and control topics; telemetry never comes here.

Order and codes of CONNECT: heads spec 1.2.2; sessions: 1.2.4; takeover: 5.1. A client whose identity is
cached is answered in the same turn of the loop. A client that the cache refuses and fresh data may
accept waits for the parent hub as a task of its own connection.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from edgehub.common.state import StateError
from edgehub.heads.backend import GATEWAY_RULES, MqttRules
from edgehub.heads.base import Lanes, Step
from edgehub.heads.connection_log import ConnectionLog
from edgehub.heads.connections import Client, ClientLimitError, Connections
from edgehub.heads.control_topics import CONTROL_QOS
from edgehub.heads.sends import Sends
from edgehub.identity.authenticator import AuthRequest, Credential
from edgehub.protocol.connect import ConnectCode, ConnectRefusedError, ConnectRequest, read_connect
from edgehub.protocol.sessions import SUBACK_FAILURE, SessionOpening, SubscribeOutcome, open_session
from edgehub.protocol.topics import SubscriptionKind, classify_filter, desired_topic, grants_for, method_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub._core import (
        ClosedEvent,
        ConnectEvent,
        NoticeEvent,
        PublishEvent,
        SubscribeEvent,
        UnsubscribeEvent,
    )
    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.common.method_calls import MethodCall
    from edgehub.heads.backend import ClientAuthenticator, ControlRequests
    from edgehub.heads.forwarded import Forwarded
    from edgehub.heads.observers import Observers
    from edgehub.heads.session_store import SessionStore
    from edgehub.hub.ports import GrantsFactory, SessionCore

RETIRE_WAIT_S = 30.0
"""Longest wait for the reads of a client whose token expired."""
ADOPTED = 0
"""Listener of a connection that came through a WebSocket."""

log = logging.getLogger(__name__)


class MqttHead:
    """Answers the events of MQTT connections.

    :param grants: makes the core's grants from keyword arguments.
    :param forwarded: what a proxy passed on about the client of a WebSocket, by its address.
    """

    def __init__(  # noqa: PLR0913 - the parts
        self,
        core: SessionCore,
        grants: GrantsFactory,
        authenticator: ClientAuthenticator,
        connections: Connections,
        sessions: SessionStore,
        clock: Clock,
        *,
        edge_device_id: str,
        observers: Observers,
        control: ControlRequests,
        rules: MqttRules = GATEWAY_RULES,
        forwarded: Callable[[str], Forwarded | None] = lambda peer: None,
    ) -> None:
        self._core = core
        self._grants = grants
        self._authenticator = authenticator
        self._connections = connections
        self._sessions = sessions
        self._clock = clock
        self._edge_device_id = edge_device_id
        self._observers = observers.clients
        self._subscription_observers = observers.subscriptions
        self._lanes = Lanes(self._failed)
        self._undecided: set[int] = set()
        self._auth_waits: set[int] = set()
        self._connection_log = ConnectionLog(log, clock)
        self._accepting = True
        self._control = control
        self._rules = rules
        self._forwarded = forwarded
        self.sends = Sends(core)
        """Publishes to clients whose end somebody waits for."""

    async def drain(self) -> None:
        """Refuses new clients from now on, those that wait for the parent hub included, and finishes the
        requests in progress."""
        self._accepting = False
        for conn in sorted(self._auth_waits):
            self._lanes.abandon(conn)
            self._failed(conn, "shutting down")
        self._auth_waits.clear()
        await self._lanes.drain()
        await self._control.drain()

    # Events of the core. Each goes to the lane of its connection.

    def on_connect(self, event: ConnectEvent) -> None:
        self._undecided.add(event.conn)
        self._lanes.submit(event.conn, lambda: self._connect(event))

    def on_subscribe(self, event: SubscribeEvent) -> None:
        self._lanes.submit(event.conn, lambda: self._subscribe(event))

    def on_unsubscribe(self, event: UnsubscribeEvent) -> None:
        self._lanes.submit(event.conn, lambda: self._unsubscribe(event))

    def on_publish(self, event: PublishEvent) -> None:
        self._lanes.submit(event.conn, lambda: self._publish(event))

    def on_notice(self, event: NoticeEvent) -> None:
        client = self._connections.by_conn(event.conn)
        name = client.identity if client is not None else f"connection {event.conn}"
        kind = event.kind.replace("_", " ")
        log.warning("Client %s: %s: %s", name, kind, event.detail)

    def on_closed(self, event: ClosedEvent) -> None:
        # A client that left while it waited for its CONNACK needs no answer any more (DEV-26); whatever
        # else it asked for before it left is still done, in order.
        self._undecided.discard(event.conn)
        if event.conn in self._auth_waits:
            self._auth_waits.discard(event.conn)
            self._lanes.abandon(event.conn)
        self._lanes.submit(event.conn, lambda: self._closed(event), last=True)

    def _failed(self, conn: int, reason: str) -> None:
        """A step raised. Before the CONNACK that means code 3 (step 8 of heads spec 1.2.2)."""
        if conn in self._undecided:
            self._undecided.discard(conn)
            self._core.refuse(conn, ConnectCode.SERVER_UNAVAILABLE)
        else:
            self._core.close(conn, reason)

    # CONNECT

    def _connect(self, event: ConnectEvent) -> Step:
        try:
            request = read_connect(
                event.client_id,
                event.username,
                event.password,
                self._certificates_of(event),
                bare=self._rules.bare_usernames,
            )
            if not self._accepting:
                raise ConnectRefusedError(ConnectCode.SERVER_UNAVAILABLE, "shutting down", event.client_id)
            auth = AuthRequest(request.identity, request.token, request.auth_chain, request.certificates)
            verdict = self._authenticator.check(auth)
            if verdict.credential is not None:
                return self._open(event, request, verdict.credential)
            if not self._authenticator.may_refresh(verdict):
                raise ConnectRefusedError(ConnectCode.NOT_AUTHORIZED, verdict.reason, event.client_id)
            if len(self._auth_waits) >= self._rules.auth_waits_max:
                reason = f"{len(self._auth_waits)} clients already wait for an answer; {verdict.reason}"
                raise ConnectRefusedError(ConnectCode.SERVER_UNAVAILABLE, reason, event.client_id)
        except ConnectRefusedError as refusal:
            self._refuse(event, refusal)
            return None
        # Counted here and not in the task: a slice of events may start many before any of them runs.
        self._auth_waits.add(event.conn)
        return self._authenticate_and_open(event, request, auth)

    def _certificates_of(self, event: ConnectEvent) -> tuple[bytes, ...]:
        """What the client itself showed, or a proxy for it (H-020).

        :raises ConnectRefusedError: the proxy is none.
        """
        forwarded = self._forwarded(event.peer) if event.listener == ADOPTED else None
        if forwarded is None:
            return event.certificates
        if forwarded.fault:
            raise ConnectRefusedError(ConnectCode.NOT_AUTHORIZED, forwarded.fault, event.client_id)
        return forwarded.certificates

    async def _authenticate_and_open(
        self, event: ConnectEvent, request: ConnectRequest, auth: AuthRequest
    ) -> None:
        try:
            verdict = await self._authenticator.authenticate(auth)
        except ConnectRefusedError as refusal:
            self._refuse(event, refusal)
            return
        finally:
            self._auth_waits.discard(event.conn)
        if verdict.credential is not None:
            step = self._open(event, request, verdict.credential)
            if step is not None:
                await step
        else:
            self._refuse(
                event, ConnectRefusedError(ConnectCode.NOT_AUTHORIZED, verdict.reason, event.client_id)
            )

    def _open(self, event: ConnectEvent, request: ConnectRequest, credential: Credential) -> Step:
        """Opens the session of an authenticated client; waits only to delete a stored one."""
        try:
            self._connections.check_room(request.identity)
            opening = open_session(clean=event.clean_session, stored=self._sessions.load(request.identity))
            forgotten = self._sessions.forget(request.identity) if opening.forget_stored else None
        except (ClientLimitError, StateError) as error:
            self._refuse_unavailable(event, str(error))
            return None
        if forgotten is not None:
            return self._accept_after(forgotten, event, request, credential, opening)
        self._accept(event, request, credential, opening)
        return None

    async def _accept_after(
        self,
        forgotten: asyncio.Future[None],
        event: ConnectEvent,
        request: ConnectRequest,
        credential: Credential,
        opening: SessionOpening,
    ) -> None:
        try:
            await forgotten
            self._connections.check_room(request.identity)
        except (ClientLimitError, StateError) as error:
            self._refuse_unavailable(event, str(error))
            return
        self._accept(event, request, credential, opening)

    def _accept(
        self, event: ConnectEvent, request: ConnectRequest, credential: Credential, opening: SessionOpening
    ) -> None:
        """CONNACK 0, then the takeover: the new connection is in place before the old one is closed."""
        spec = grants_for(request.identity, self._edge_device_id, request.model_id)
        grants = self._grants(
            device_id=spec.device_id,
            module_id=spec.module_id,
            telemetry_topics=spec.telemetry_topics,
            inputs_endpoint_prefix=spec.inputs_endpoint_prefix,
            inputs_topic_prefixes=spec.inputs_topic_prefixes,
            model_id=spec.model_id,
        )
        session = opening.session
        client = Client(event.conn, credential, session, request.client_type)
        self._undecided.discard(event.conn)
        self._core.accept(
            event.conn,
            grants,
            session_present=opening.present,
            subscriptions=session.granted(),
            inputs_active=session.inputs_active,
        )
        superseded = self._connections.register(client)
        if superseded is not None:
            self._core.close(superseded.conn, f"taken over by {event.peer}")
        self._connection_log.connected(
            client.identity, event.peer, restored=opening.present, superseded=superseded is not None
        )
        for observer in self._observers:
            observer.connected(client.identity)
        if session.subscriptions:
            self._tell_subscriptions(client)

    def _tell_subscriptions(self, client: Client) -> None:
        """Not for a client that was taken over meanwhile: that of its identity is another now."""
        if not self._subscription_observers or self._connections.by_conn(client.conn) is not client:
            return
        kinds = client.session.kinds()
        for observer in self._subscription_observers:
            observer.subscriptions(client.identity, kinds)

    def _refuse_unavailable(self, event: ConnectEvent, reason: str) -> None:
        self._refuse(event, ConnectRefusedError(ConnectCode.SERVER_UNAVAILABLE, reason, event.client_id))

    def _refuse(self, event: ConnectEvent, refusal: ConnectRefusedError) -> None:
        self._undecided.discard(event.conn)
        self._core.refuse(event.conn, refusal.code)
        self._connection_log.refused(event.peer, event.client_id, refusal)
        for observer in self._observers:
            observer.refused(refusal.claimed, not_authenticated=refusal.code == ConnectCode.NOT_AUTHORIZED)

    # SUBSCRIBE and UNSUBSCRIBE: answered after the session is stored.

    def _subscribe(self, event: SubscribeEvent) -> Step:
        client = self._connections.by_conn(event.conn)
        if client is None:
            return None
        known = set(client.session.subscriptions)
        outcome = client.session.subscribe(
            event.filters,
            int(self._clock.wall_s() * 1000),
            partial(self._rules.may_subscribe, client.identity),
        )
        self._log_filters(client, event, outcome, known)
        stored = self._store(client, changed=outcome.changed)
        if stored is not None:
            return self._suback_after(stored, client, event.packet_id, outcome)
        self._suback(client, event.packet_id, outcome)
        return None

    async def _suback_after(
        self, stored: asyncio.Future[None], client: Client, packet_id: int, outcome: SubscribeOutcome
    ) -> None:
        if await self._is_stored(stored, client):
            self._suback(client, packet_id, outcome)

    def _suback(self, client: Client, packet_id: int, outcome: SubscribeOutcome) -> None:
        self._core.suback(
            client.conn, packet_id, outcome.codes, outcome.added, inputs_active=client.session.inputs_active
        )
        self._tell_subscriptions(client)

    def _unsubscribe(self, event: UnsubscribeEvent) -> Step:
        client = self._connections.by_conn(event.conn)
        if client is None:
            return None
        changed = client.session.unsubscribe(event.filters)
        stored = self._store(client, changed=changed)
        if stored is not None:
            return self._unsuback_after(stored, client, event)
        self._unsuback(client, event)
        return None

    async def _unsuback_after(
        self, stored: asyncio.Future[None], client: Client, event: UnsubscribeEvent
    ) -> None:
        if await self._is_stored(stored, client):
            self._unsuback(client, event)

    def _unsuback(self, client: Client, event: UnsubscribeEvent) -> None:
        self._core.unsuback(
            event.conn, event.packet_id, event.filters, inputs_active=client.session.inputs_active
        )
        self._tell_subscriptions(client)

    def _store(self, client: Client, *, changed: bool) -> asyncio.Future[None] | None:
        """Starts storing the session if it has to be; a session that cannot be stored ends the connection."""
        if not client.session.must_store(changed=changed):
            return None
        try:
            stored = self._sessions.save(client.identity, client.session)
        except StateError as error:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed
        client.session.stored = True
        return stored

    async def _is_stored(self, stored: asyncio.Future[None], client: Client) -> bool:
        try:
            await stored
        except StateError as error:
            log.error("Session of %s is not stored: %s", client.identity, error)
            self._core.close(client.conn, "session not stored")
            return False
        return True

    def _log_filters(
        self, client: Client, event: SubscribeEvent, outcome: SubscribeOutcome, known: set[str]
    ) -> None:
        for (topic_filter, _), code in zip(event.filters, outcome.codes, strict=True):
            if code == SUBACK_FAILURE:
                log.warning("Client %s: subscription to %.200s refused", client.identity, topic_filter)
            elif topic_filter not in known and classify_filter(topic_filter) is SubscriptionKind.UNKNOWN:
                log.info("Client %s subscribed to %s, where nothing is sent", client.identity, topic_filter)

    # Control topics

    def _publish(self, event: PublishEvent) -> Step:
        client = self._connections.by_conn(event.conn)
        return None if client is None else self._control.publish(client, event)

    def send_method(
        self, target: IdentityId, request_id: str, call: MethodCall
    ) -> asyncio.Future[str] | None:
        """Sends a method call to a client; what became of it, or None if it is not connected here."""
        client = self._connections.by_identity(target)
        if client is None:
            return None
        topic = method_topic(call.name, request_id)
        return self.sends.send(client.conn, topic, call.payload, self._rules.method_qos)

    def send_message(
        self, target: IdentityId, topic: str, payload: bytes, created_ms: int | None
    ) -> asyncio.Future[str] | None:
        """Sends a cloud-to-device message; what became of it, or None if the device is not connected here."""
        client = self._connections.by_identity(target)
        if client is None:
            return None
        return self.sends.send(client.conn, topic, payload, CONTROL_QOS, created_ms=created_ms)

    def deliver_desired(self, identity: IdentityId, version: int | None, patch: bytes) -> None:
        """Sends a desired patch to a client if it is connected here and subscribed."""
        client = self._connections.by_identity(identity)
        if client is not None:
            self._core.send(client.conn, desired_topic(version), patch, CONTROL_QOS)

    # The end of a connection

    def _closed(self, event: ClosedEvent) -> Step:
        client = self._connections.unregister(event.conn)
        if client is None:
            self._connection_log.closed(event)
            return None
        self._connection_log.disconnected(client.identity, event)
        for observer in self._observers:
            observer.disconnected(client.identity)
        return None

    def disconnect(self, client: Client, reason: str) -> None:
        """Closes a client from our side, for example because its identity was removed."""
        self._core.close(client.conn, reason)

    def retire(self, client: Client, reason: str) -> None:
        """Closes a client whose token expired, when its requests so far are answered and its messages so far
        acknowledged: it was allowed to."""
        self._lanes.submit(client.conn, lambda: self._retire(client.conn, reason), last=True)

    def _retire(self, conn: int, reason: str) -> Step:
        reads = self._control.reads_of(conn)
        if reads:
            return self._close_after(reads, conn, reason)
        self._core.close(conn, reason, after_acks=True)
        return None

    async def _close_after(self, reads: frozenset[asyncio.Task[None]], conn: int, reason: str) -> None:
        await asyncio.wait(reads, timeout=RETIRE_WAIT_S)
        self._core.close(conn, reason, after_acks=True)
