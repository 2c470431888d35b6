"""What serves clients: the MQTT head, their twins, and what is decided about them.

Imported only when the head is enabled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgehub.heads.cached_twins import CachedTwins
from edgehub.heads.control_topics import ControlTopics
from edgehub.heads.forwarded import ForwardedCertificates
from edgehub.heads.mqtt import MqttHead
from edgehub.heads.observers import ClientListener, Observers
from edgehub.heads.session_store import SessionStore
from edgehub.hub.cloud_messages import CloudMessages
from edgehub.hub.methods.parent_calls import ParentCalls
from edgehub.hub.methods.service import DirectMethods
from edgehub.hub.reauthentication import Reauthenticator
from edgehub.hub.twins.service import ClientTwins
from edgehub.hub.twins.store import TwinStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from aiohttp.web import RouteDef

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.common.method_calls import MethodCall
    from edgehub.common.state import StateStore
    from edgehub.config.settings import UpstreamSettings
    from edgehub.heads.connections import Connections
    from edgehub.heads.forwarded import Forwarded
    from edgehub.hub.cloud_messages import ParentMessages
    from edgehub.hub.methods.parent_calls import ParentMethods
    from edgehub.hub.ports import GrantsFactory, HubCore
    from edgehub.hub.twins.parent import ParentTwins
    from edgehub.identity.authenticator import Authenticator
    from edgehub.identity.scope import ScopeDiff
    from edgehub.identity.sealing import Sealer
    from edgehub.metrics.totals import HubTotals


@dataclass(frozen=True, slots=True)
class ParentSide:
    """What the parent hub has to do with clients.

    :param own: identity of `$edgeHub`.
    :param refresh: reads identities again.
    """

    own: IdentityId
    twins: ParentTwins
    methods: ParentMethods
    messages: ParentMessages
    refresh: Callable[[Sequence[IdentityId]], Awaitable[None]]


class ClientParts:
    """The head with its helpers.

    :param observers: who else learns about clients, before twins and methods do.
    :param parent: None for a hub without parent.
    :param sealer: encrypts stored twins, if they are to be.
    :param proxy: the module that may pass on certificates of WebSocket clients; None: none may.
    """

    def __init__(  # noqa: PLR0913 - the parts
        self,
        core: HubCore,
        grants: GrantsFactory,
        authenticator: Authenticator,
        connections: Connections,
        state: StateStore,
        clock: Clock,
        settings: UpstreamSettings,
        *,
        edge_device_id: str,
        observers: Observers,
        totals: HubTotals,
        parent: ParentSide | None,
        sealer: Sealer | None,
        proxy: IdentityId | None,
    ) -> None:
        self._core = core
        self._clock = clock
        self.forwarded = None if proxy is None else ForwardedCertificates(authenticator, proxy)
        self._authenticator = authenticator
        self._edge_device_id = edge_device_id
        self._sessions = SessionStore(state)
        self.twins = ClientTwins(
            TwinStore(state, sealer),
            None if parent is None else parent.twins,
            clock,
            totals.twins,
            deliver=self._deliver_desired,
            changed=self._twin_changed,
            gap_s=settings.reported_sync_s,
            refresh_gap_s=settings.twin_refresh_gap_s,
        )
        self.methods = DirectMethods(self._send_method, clock, totals.methods)
        self.parent_calls: ParentCalls | None = None
        self.messages: CloudMessages | None = None
        listeners: tuple[ClientListener, ...] = (self.twins, self.methods)
        if parent is not None:
            self.parent_calls = ParentCalls(parent.own, parent.methods, self.methods, parent.refresh)
            self.messages = CloudMessages(parent.messages, self._send_message)
            listeners = (*listeners, self.parent_calls, self.messages)
        self.head = MqttHead(
            core,
            grants,
            authenticator,
            connections,
            self._sessions,
            clock,
            edge_device_id=edge_device_id,
            observers=Observers((*observers.clients, *listeners), (*observers.subscriptions, *listeners)),
            control=ControlTopics(core, CachedTwins(self.twins), self.methods),
            forwarded=self._forwarded_of,
        )
        self._reauthenticator = Reauthenticator(
            connections, authenticator, self.head.disconnect, self.head.retire
        )

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Jobs that run until the hub stops, by name."""
        return {"reauthentication": self._reauthenticator.run(), "client twins": self.twins.run()}

    @property
    def authenticator(self) -> Authenticator:
        """Decides who may connect."""
        return self._authenticator

    def rest_routes(self) -> list[RouteDef]:
        """What the HTTP head serves."""
        from edgehub.heads.method_routes import MethodRoutes  # noqa: PLC0415 - only with the HTTP head

        return MethodRoutes(
            self.methods, self._authenticator, self._edge_device_id, self._clock, self.forwarded
        ).routes()

    def _send_method(
        self, target: IdentityId, request_id: str, call: MethodCall
    ) -> asyncio.Future[str] | None:
        return self.head.send_method(target, request_id, call)

    def _send_message(
        self, target: IdentityId, topic: str, payload: bytes, created_ms: int | None
    ) -> asyncio.Future[str] | None:
        return self.head.send_message(target, topic, payload, created_ms)

    def _forwarded_of(self, peer: str) -> Forwarded | None:
        return None if self.forwarded is None else self.forwarded.of(peer)

    def _deliver_desired(self, identity: IdentityId, version: int | None, patch: bytes) -> None:
        self.head.deliver_desired(identity, version, patch)

    def _twin_changed(self, identity: IdentityId, patch: bytes) -> None:
        self._core.twin_changed(identity.device_id, identity.module_id, patch)

    def unauthorized(self, identity: IdentityId) -> None:
        """Closes a client that the parent hub refuses."""
        self._reauthenticator.refused_by_parent(identity)

    def scope_changed(self, diff: ScopeDiff) -> None:
        """Closes clients that may no longer connect, and forgets the sessions and twins of identities that
        are gone: another of the same name is not given them."""
        self._reauthenticator.scope_changed(diff)
        for gone in diff.gone:
            self._sessions.drop(gone)
            self.twins.drop(gone)
