"""The link: keeps a connection as `$edgeAgent` to the upstream hub, with twin, methods and messages on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from edgeagent.errors import AgentError
from edgeagent.link.connection import Login, MqttConnection
from edgeagent.link.connectivity import Action, Connectivity, State
from edgeagent.link.errors import (
    ConnectError,
    LinkDownError,
    LinkTimeoutError,
    RequestRefusedError,
    TopicError,
)
from edgeagent.link.method_calls import MethodCalls, MethodHandler
from edgeagent.link.pending import PendingRequests
from edgeagent.link.proxy import parse_proxy
from edgeagent.link.settings import MODULE_ID, LinkSettings, UpstreamProtocol
from edgeagent.link.sockets import Endpoint, SocketOpener
from edgeagent.link.tls import upstream_context
from edgeagent.link.tokens import Signer, make_token
from edgeagent.link.topics import (
    FILTERS,
    DesiredPatch,
    MethodCall,
    TwinAnswer,
    error_text,
    event_topic,
    read_message,
    reported_topic,
    twin_get_topic,
)
from edgeagent.link.twin import Twin, read_twin

if TYPE_CHECKING:
    import ssl

EVENT_BYTES_MAX: Final = 256 * 1024
"""Largest message that the hub takes."""
_OK: Final = range(200, 300)

log = logging.getLogger(__name__)


class LinkListener(Protocol):
    """Is told what happens; the calls must return at once."""

    def link_up(self) -> None:
        """Connected and subscribed."""

    def link_down(self, reason: str) -> None:
        """The connection ended, or was ended for a new token."""

    def link_refused(self, reason: str) -> None:
        """The hub does not take our credentials (row O09)."""

    def desired_patch(self, patch: DesiredPatch) -> None:
        """Desired properties changed."""


class Connection(Protocol):
    """What the link needs of :class:`~edgeagent.link.connection.MqttConnection`."""

    async def open(self, login: Login) -> None: ...

    async def subscribe(self, filters: Sequence[str]) -> None: ...

    def publish(self, topic: str, payload: bytes) -> None: ...

    async def publish_acknowledged(self, topic: str, payload: bytes) -> None: ...

    def close(self) -> None: ...


ConnectionMaker: TypeAlias = Callable[
    [UpstreamProtocol, Callable[[str, bytes], None], Callable[[str], None]], Connection
]
"""Of a protocol, who is told of each publish, and who of the end."""


@dataclass(slots=True)
class LinkStats:
    """Totals since the start."""

    connects: int = 0
    failures: int = 0
    losses: int = 0
    renewals: int = 0
    unreadable: int = 0


def mqtt_connections(settings: LinkSettings, tls: ssl.SSLContext | None = None) -> ConnectionMaker:
    """Makes real connections.

    :param tls: of :func:`~edgeagent.link.tls.upstream_context`, to share one; by default one is made.
    :raises LinkSettingsError: the trust bundle or the proxy cannot be read.
    """
    proxy = parse_proxy(settings.proxy) if settings.proxy else None
    context = tls or upstream_context(settings.trust_pem)

    def make(
        protocol: UpstreamProtocol, received: Callable[[str, bytes], None], ended: Callable[[str], None]
    ) -> Connection:
        address = (settings.host, settings.port(protocol))
        used = proxy if protocol is UpstreamProtocol.MQTT_WS else None
        opener = SocketOpener(Endpoint(*address, context, used))
        return MqttConnection(opener, address, protocol, received, ended)

    return make


class UpstreamLink:
    """Connects, and connects again, until :meth:`run` is cancelled.

    :param sign: HMAC-SHA256 under the key of `$edgeAgent`.
    :param serve_method: answers direct methods.
    :param connect: makes connections; by default over MQTT.
    :param wall: Unix time in seconds.
    :param machine: decides when to connect.
    """

    def __init__(
        self,
        settings: LinkSettings,
        sign: Signer,
        serve_method: MethodHandler,
        *,
        connect: ConnectionMaker | None = None,
        wall: Callable[[], float] = time.time,
        machine: Connectivity | None = None,
    ) -> None:
        self._settings = settings
        self._sign = sign
        self._connect = connect or mqtt_connections(settings)
        self._wall = wall
        self._machine = machine or Connectivity(random.random)
        self._methods = MethodCalls(serve_method, settings.method_s)
        self._pending: PendingRequests[asyncio.Future[TwinAnswer]] = PendingRequests()
        self._events = 0
        self._listeners: list[LinkListener] = []
        self._connection: Connection | None = None
        self._protocol_turn = 0
        self._wake = asyncio.Event()
        self._last_failure = ""
        self.stats = LinkStats()

    def listen(self, listener: LinkListener) -> None:
        """One more that is told what happens."""
        self._listeners.append(listener)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    # The connection

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                action = self._machine.poll(loop.time(), in_flight=self._in_flight())
                if action is Action.NONE:
                    await self._sleep()
                    continue
                if action is Action.RENEW:
                    self.stats.renewals += 1
                    self._drop("the token is renewed")
                await self._open()
        finally:
            self._drop("the link is stopped")
            await self._methods.cancel()

    def _in_flight(self) -> bool:
        return bool(self._pending) or self._events > 0 or self._methods.running > 0

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._machine.deadline):
                await self._wake.wait()
        self._wake.clear()

    async def _open(self) -> None:
        protocols = self._settings.protocols
        protocol = protocols[self._protocol_turn % len(protocols)]
        connection: Connection | None = None

        def ended(reason: str) -> None:
            if connection is not None and connection is self._connection:
                self._lost(reason)

        try:
            connection = self._connect(protocol, self._received, ended)
            async with asyncio.timeout(self._settings.connect_s):
                renew_at = await self._log_in(connection)
            self._opened(connection, protocol, renew_at)
        except (AgentError, OSError) as fault:
            self._failed(fault)
        finally:
            if connection is not None and connection is not self._connection:
                connection.close()

    async def _log_in(self, connection: Connection) -> float:
        """When the token must be renewed, on the clock of the loop."""
        settings = self._settings
        began = asyncio.get_running_loop().time()
        token = await make_token(settings.audience, int(self._wall() + settings.token_life_s), self._sign)
        login = Login(settings.client_id, settings.user_name, token, settings.keep_alive_s)
        await connection.open(login)
        await connection.subscribe(FILTERS)
        return began + settings.token_life_s - settings.renew_before_s

    def _opened(self, connection: Connection, protocol: UpstreamProtocol, renew_at: float) -> None:
        self._connection = connection
        self._machine.opened(asyncio.get_running_loop().time(), renew_at)
        self._last_failure = ""
        self.stats.connects += 1
        log.info("Connected to %s over %s", self._settings.host, protocol)
        for listener in self._listeners:
            listener.link_up()

    def _failed(self, fault: Exception) -> None:
        text = str(fault) or f"no connection within {self._settings.connect_s:.0f} s"
        refused = isinstance(fault, ConnectError) and fault.refused
        if not refused:
            # Perhaps only one of the ways is blocked.
            self._protocol_turn += 1
        self.stats.failures += 1
        wait_s = self._machine.failed(asyncio.get_running_loop().time())
        # One line for an outage, not one for each try.
        level = logging.DEBUG if text == self._last_failure else logging.WARNING
        log.log(level, "No connection to %s: %s; next try in %.0f s", self._settings.host, text, wait_s)
        self._last_failure = text
        if refused:
            for listener in self._listeners:
                listener.link_refused(text)

    def _lost(self, reason: str) -> None:
        self.stats.losses += 1
        wait_s = self._machine.lost(asyncio.get_running_loop().time())
        log.warning("Lost %s: %s; next try in %.0f s", self._settings.host, reason, wait_s)
        self._drop(reason)
        self._wake.set()

    def _drop(self, reason: str) -> None:
        """Ends the connection if there is one, and with it all that waits for an answer."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        for waiter in self._pending.drain():
            if not waiter.done():
                waiter.set_exception(LinkDownError(reason))
        for listener in self._listeners:
            listener.link_down(reason)

    # What arrives

    def _received(self, topic: str, payload: bytes) -> None:
        try:
            message = read_message(topic, payload)
        except TopicError as fault:
            self.stats.unreadable += 1
            log.warning("A message of the hub is dropped: %s", fault)
            return
        match message:
            case TwinAnswer():
                waiter = self._pending.take(message.rid)
                if waiter is not None and not waiter.done():
                    waiter.set_result(message)
            case DesiredPatch():
                for listener in self._listeners:
                    listener.desired_patch(message)
            case MethodCall():
                self._methods.call(message, self._connection)

    # What is asked of the hub

    async def get_twin(self) -> Twin:
        """Reads the whole twin.

        :raises LinkError: down, busy, refused, not in time, or no twin.
        """
        answer = await self._request("to read the twin", twin_get_topic, b"")
        return read_twin(answer.payload)

    async def report(self, patch: Mapping[str, Any]) -> int | None:
        """Merges into the reported properties; their new version, where the hub tells it.

        :raises LinkError: down, busy, refused, or not in time.
        """
        answer = await self._request("reported properties", reported_topic, msgspec.json.encode(patch))
        return answer.version

    async def _request(self, what: str, topic: Callable[[str], str], body: bytes) -> TwinAnswer:
        if self._connection is None:
            raise LinkDownError("there is no connection to the hub")
        waiter: asyncio.Future[TwinAnswer] = asyncio.get_running_loop().create_future()
        rid = self._pending.add(waiter)
        try:
            self._connection.publish(topic(rid), body)
            async with asyncio.timeout(self._settings.request_s):
                answer = await waiter
        except TimeoutError:
            text = f"the hub gave no answer within {self._settings.request_s:.0f} s ({what})"
            raise LinkTimeoutError(text) from None
        finally:
            self._pending.take(rid)
        if answer.status not in _OK:
            raise RequestRefusedError(what, answer.status, error_text(answer.payload))
        return answer

    async def send_event(self, body: bytes, properties: Mapping[str, str]) -> None:
        """Sends a message of `$edgeAgent` and waits until the hub has it.

        :param properties: system properties by their names in topics (`$.ct`), others by their own.
        :raises LinkError: down, too large, or not acknowledged in time.
        """
        if len(body) > EVENT_BYTES_MAX:
            raise RequestRefusedError("a message", 413, f"{len(body)} bytes; at most {EVENT_BYTES_MAX}")
        if self._connection is None:
            raise LinkDownError("there is no connection to the hub")
        topic = event_topic(self._settings.device_id, MODULE_ID, properties)
        self._events += 1
        try:
            async with asyncio.timeout(self._settings.request_s):
                await self._connection.publish_acknowledged(topic, body)
        except TimeoutError:
            raise LinkTimeoutError("the hub did not acknowledge a message in time") from None
        finally:
            self._events -= 1

    @property
    def state(self) -> State:
        """For metrics and checks."""
        return self._machine.state
