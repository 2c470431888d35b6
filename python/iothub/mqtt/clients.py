"""What connected MQTT clients take part in, and when they may stay no longer.

The head tells who connected and what they are subscribed to. Every kind of subscription that is served has
one entry in `_offers`: it begins when a client has such a filter and ends with it, with the connection, or
when another connection, of whatever protocol, takes the identity over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgehub.common.ids import IdentityId
from edgehub.protocol.topics import SubscriptionKind
from iothub import jsonio
from iothub.errors import HubError
from iothub.mqtt.authentication import Admission
from iothub.mqtt.cloud_messages import CloudOutbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.method_calls import MethodCall
    from edgehub.heads.connections import Client, Connections
    from edgehub.heads.session_store import SessionStore
    from iothub.connections import IdentityKey
    from iothub.mqtt.authentication import MqttAuthenticator
    from iothub.mqtt.services import MqttServices

EXPIRY_PERIOD_S: Final = 5.0
"""How often tokens are looked at; none is taken longer than this beyond its end and the clock skew."""
CHANGES_MAX: Final = 10_000
"""Changed identities that wait to be looked at for stored sessions. Beyond, a session of a deleted identity
stays until one of its name connects with a clean one. Connected clients are always checked."""
CHECKS_PER_SLICE: Final = 100
"""Clients looked at before other work of the loop gets its turn."""

log = logging.getLogger(__name__)


class Door(Protocol):
    """The way to clients; `edgehub.heads.mqtt.MqttHead`."""

    def deliver_desired(self, identity: IdentityId, version: int | None, patch: bytes) -> None: ...
    def send_method(
        self, target: IdentityId, request_id: str, call: MethodCall
    ) -> asyncio.Future[str] | None: ...
    def send_message(
        self, target: IdentityId, topic: str, payload: bytes, created_ms: int | None
    ) -> asyncio.Future[str] | None: ...
    def disconnect(self, client: Client, reason: str) -> None: ...


@dataclass(slots=True)
class _Served:
    """One connected client.

    :ivar stops: ends what it takes part in.
    """

    admission: Admission
    stops: dict[SubscriptionKind, Callable[[], None]] = field(default_factory=dict)


class MqttClients:
    """All clients on MQTT. One owner in the table of connections: the head sorts out its own takeovers."""

    def __init__(
        self,
        services: MqttServices,
        connections: Connections,
        sessions: SessionStore,
        authenticator: MqttAuthenticator,
    ) -> None:
        self._services = services
        self._connections = connections
        self._sessions = sessions
        self._authenticator = authenticator
        self._door: Door
        self._served: dict[IdentityId, _Served] = {}
        self._by_device: defaultdict[str, set[IdentityId]] = defaultdict(set)
        self._to_check: dict[IdentityId, None] = {}
        self._changed: dict[IdentityId, None] = {}
        self._wake = asyncio.Event()
        self._offers = {
            SubscriptionKind.DESIRED_PROPERTIES: self._serve_desired,
            SubscriptionKind.METHODS: self._serve_methods,
            SubscriptionKind.CLOUD_TO_DEVICE: self._serve_messages,
        }

    def serve_with(self, door: Door) -> None:
        """Whom to send through; before the first client."""
        self._door = door

    # Events of the head

    def connected(self, identity: IdentityId) -> None:
        """A client connected, maybe in the place of another."""
        self._end(identity)
        client = self._connections.by_identity(identity)
        assert client is not None
        admission = client.credential
        assert isinstance(admission, Admission)
        self._served[identity] = _Served(admission)
        for device_id in admission.devices:
            self._by_device[device_id].add(identity)
        self._services.connections.claim(identity, self)
        if admission.epoch != self._services.registry.epoch:
            # What changed while it was let in may have been about it.
            self._check_soon(identity)

    def disconnected(self, identity: IdentityId) -> None:
        """A client left."""
        self._end(identity)
        self._services.connections.release(identity, self)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """Nothing to do."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """A client's subscriptions are these."""
        served = self._served.get(identity)
        if served is None:
            return  # another protocol has the identity now; the end of this connection is on its way
        for kind, begin in self._offers.items():
            if kind in kinds and kind not in served.stops:
                served.stops[kind] = begin(identity)
            elif kind not in kinds and kind in served.stops:
                served.stops.pop(kind)()

    def _end(self, identity: IdentityId) -> None:
        served = self._served.pop(identity, None)
        if served is None:
            return
        for device_id in served.admission.devices:
            self._by_device[device_id].discard(identity)
            if not self._by_device[device_id]:
                del self._by_device[device_id]
        for stop in served.stops.values():
            stop()

    # What they take part in

    def _serve_desired(self, identity: IdentityId) -> Callable[[], None]:
        def changed(patch: dict[str, Any], version: int) -> None:
            body = jsonio.encode({**patch, "$version": version})
            self._door.deliver_desired(identity, version, body)

        return self._services.twins.subscribe(*identity, changed)

    def _serve_methods(self, identity: IdentityId) -> Callable[[], None]:
        def called(request_id: str, call: MethodCall) -> asyncio.Future[str]:
            sent = self._door.send_method(identity, request_id, call)
            return _outcome("closed") if sent is None else sent

        return self._services.methods.attach(identity, called)

    def _serve_messages(self, identity: IdentityId) -> Callable[[], None]:
        """Modules may have the filter, too, but nothing is ever sent to them."""
        if identity.is_module:
            return lambda: None
        return CloudOutbox(self._services.c2d, identity, self._door.send_message).close

    # Word from the hub

    def evict(self, key: IdentityKey) -> None:
        """A connection of another protocol has taken this identity over (row 39)."""
        identity = IdentityId(*key)
        self._end(identity)
        self._disconnect(identity, "a newer connection of this identity was opened")

    def identity_changed(self, device_id: str, module_id: str | None) -> None:
        """The registry changed: who relies on it is checked again, soon."""
        identity = IdentityId(device_id, module_id)
        for touched in self._by_device.get(device_id, ()):
            if module_id is None or touched == identity or self._served[touched].admission.chain is not None:
                self._check_soon(touched)
        if len(self._changed) < CHANGES_MAX:
            self._changed[identity] = None
            self._wake.set()

    def _check_soon(self, identity: IdentityId) -> None:
        self._to_check[identity] = None
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled checks clients again: those whose identity changed at once, tokens, and whom the
        registry could not tell about, by the clock."""
        loop = asyncio.get_running_loop()
        expire_at = loop.time() + EXPIRY_PERIOD_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(expire_at):
                    await self._wake.wait()
            self._wake.clear()
            await self.recheck()
            if loop.time() >= expire_at:
                await self.expire()
                expire_at = loop.time() + EXPIRY_PERIOD_S

    async def expire(self) -> None:
        """Ends the connections whose token is over, in slices."""
        for number, (identity, served) in enumerate(list(self._served.items()), 1):
            if served.admission.expires_at < self._services.clock() and self._served.get(identity) is served:
                self._disconnect(identity, "the token has expired")
            if number % CHECKS_PER_SLICE == 0:
                await asyncio.sleep(0)

    async def recheck(self) -> None:
        """Ends the connections that may be no longer, and the sessions of identities that are gone. While the
        registry does not answer, all stay as they are; `run` comes back to them."""
        for waiting, judge in ((self._to_check, self._check), (self._changed, self._forget_if_gone)):
            while waiting:
                identity = next(iter(waiting))
                # Before the look: a change during it must be looked at, too.
                del waiting[identity]
                try:
                    await judge(identity)
                except HubError as error:
                    log.warning("Client %s cannot be checked now: %s", identity, error)
                    waiting[identity] = None
                    return

    async def _check(self, identity: IdentityId) -> None:
        """:raises HubError: 503001, the registry does not answer."""
        served = self._served.get(identity)
        if served is None:
            return
        try:
            fault = await self._authenticator.fault_of(served.admission)
            reason = None if fault is None else fault.message
        except HubError:
            raise
        except Exception:
            log.exception("Client %s could not be checked", identity)
            reason = "its identity cannot be checked"
        if reason is not None and self._served.get(identity) is served:
            self._disconnect(identity, reason)

    async def _forget_if_gone(self, identity: IdentityId) -> None:
        """:raises HubError: 503001, the registry does not answer."""
        try:
            if await self._services.registry.identity(*identity) is not None:
                return
            if identity.is_module:
                self._sessions.drop(identity)
            else:
                self._sessions.drop_device(identity.device_id)
        except HubError:
            raise
        except Exception:
            log.exception("Identity %s could not be looked up", identity)

    def _disconnect(self, identity: IdentityId, reason: str) -> None:
        client = self._connections.by_identity(identity)
        if client is not None:
            self._door.disconnect(client, reason)


def _outcome(text: str) -> asyncio.Future[str]:
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    done.set_result(text)
    return done
