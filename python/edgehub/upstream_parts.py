"""The hub's side of the parent hub: connects the link's events with routes, reports and identities."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edgehub import __version__
from edgehub.common.ids import IdentityId
from edgehub.hub.cloud_messages import ParentMessages
from edgehub.hub.edge_hub_twin import EdgeHubTwin
from edgehub.hub.methods.parent_calls import ParentMethods
from edgehub.hub.reported import ReportedState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from edgehub.client_parts import ParentSide
    from edgehub.common.clock import Clock
    from edgehub.config.settings import Settings, UpstreamSettings
    from edgehub.heads.registry_routes import ParentRegistry
    from edgehub.hub.cloud_messages import CloudMessages
    from edgehub.hub.methods.parent_calls import ParentCalls
    from edgehub.hub.own_identity import HubIdentity
    from edgehub.hub.own_key import OwnKey
    from edgehub.hub.ports import ChainOf, HubTwin, UpstreamCore, UpstreamLink
    from edgehub.hub.routes import RoutesService
    from edgehub.hub.twins.parent import ParentTwins
    from edgehub.hub.twins.service import ClientTwins
    from edgehub.identity.refresher import ScopeApi
    from edgehub.metrics.totals import HubTotals
    from edgehub.protocol.cloud_messages import CloudMessage, Settlement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ParentContext:
    """What a link to a parent hub is made from.

    :param key: signs for our own module.
    :param trust_pem: certificates to trust beside the system's, None without.
    :param core: where messages come from.
    :param chain_of: auth chain of a sender, None when it may not send.
    """

    settings: Settings
    identity: HubIdentity
    key: OwnKey
    trust_pem: bytes | None
    core: UpstreamCore
    chain_of: ChainOf
    clock: Clock


class ParentMethodLinks(ParentMethods, Protocol):
    """Calls of the parent hub, on their way in."""

    def serve_with(self, serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]) -> None:
        """Who answers: identity, name and payload -> status and payload. It does not raise."""
        ...


class ParentMessageLinks(ParentMessages, Protocol):
    """Cloud-to-device messages, on their way in."""

    def serve_with(self, serve: Callable[[str, CloudMessage], Awaitable[Settlement]]) -> None:
        """Who takes messages: identity and message -> what becomes of it."""
        ...


@dataclass(frozen=True, slots=True)
class ParentHub:
    """What the link to a parent hub offers.

    :param link: the connection itself; reports to a `LinkListener`.
    :param twin: the twin of our module over that connection.
    :param client_twins: those of clients.
    :param methods: calls from the parent hub.
    :param messages: messages of the cloud for devices.
    :param scope_api: the identities in our scope, over HTTPS.
    :param close: frees what the two over HTTPS hold open.
    :param registry: modules of devices below us.
    """

    link: UpstreamLink
    twin: HubTwin
    client_twins: ParentTwins
    methods: ParentMethodLinks
    messages: ParentMessageLinks
    scope_api: ScopeApi
    close: Callable[[], Awaitable[None]]
    registry: ParentRegistry | None = None


class UpstreamParts:
    """Everything that happens because there is a parent hub.

    :param own: identity of our module.
    :param follow_twin: whether the routes come from the twin; otherwise it is only reported to.
    """

    def __init__(
        self,
        own: IdentityId,
        parent: ParentHub,
        routes: RoutesService,
        totals: HubTotals,
        clock: Clock,
        settings: UpstreamSettings,
        *,
        follow_twin: bool,
    ) -> None:
        self._own = own
        self._link = parent.link
        self._parent = parent
        self._client_twins: ClientTwins | None = None
        self._close = parent.close
        self.scope_api = parent.scope_api
        self.registry = parent.registry
        self._totals = totals
        self._follow_twin = follow_twin
        self._stopping = False
        self._refresh_identities: Callable[[], None] = lambda: None
        self._unauthorized: Callable[[IdentityId], None] = lambda identity: None
        self.twin = EdgeHubTwin(
            parent.twin,
            routes,
            ReportedState(__version__),
            clock,
            refresh_s=settings.config_refresh_s,
            reported_gap_s=settings.reported_sync_s,
        )

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Jobs that run until the hub stops, by name."""
        jobs = {"reported properties": self.twin.run_reported()}
        if self._follow_twin:
            jobs["desired properties"] = self.twin.run_desired()
        return jobs

    def client_side(self, refresh: Callable[[Sequence[IdentityId]], Awaitable[None]]) -> ParentSide:
        """What the parts that serve clients need of the parent hub."""
        from edgehub.client_parts import ParentSide  # noqa: PLC0415 - only with a head

        parent = self._parent
        return ParentSide(self._own, parent.client_twins, parent.methods, parent.messages, refresh)

    def serve(
        self,
        twins: ClientTwins,
        calls: ParentCalls | None,
        messages: CloudMessages | None,
        unauthorized: Callable[[IdentityId], None],
    ) -> None:
        """Twins want to know what happens to the link, calls have to be answered, and messages taken; before
        `start`.

        :param unauthorized: told of a client that the parent hub refuses (T-024).
        """
        self._client_twins = twins
        self._unauthorized = unauthorized
        if calls is not None:
            self._parent.methods.serve_with(calls.serve)
        if messages is not None:
            self._parent.messages.serve_with(messages.serve)

    async def start(self, refresh_identities: Callable[[], None]) -> None:
        """Starts connecting.

        :param refresh_identities: called whenever the parent hub can be reached again.
        """
        self._refresh_identities = refresh_identities
        self._link.set_listener(self)
        await self._link.start()

    async def stop(self) -> None:
        """Tells what is left to tell, finishes what is in flight and disconnects."""
        self._stopping = True
        await self.twin.flush_reported()
        await self._link.stop()

    async def close(self) -> None:
        """Frees what is still open. Safe without `start`."""
        await self._close()

    def scope_changed(self) -> None:
        """Identities changed: who was refused upstream may pass now."""
        self._link.kick()

    async def first_configuration(self) -> None:
        """Waits until the twin was read once."""
        await self.twin.first_outcome

    def messages_ready(self) -> None:
        """There may be messages to take from the core."""
        self._link.messages_ready()

    # Events of the link (`LinkListener`).

    def link_up(self) -> None:
        log.info("Connected to the parent hub")
        self._totals.link_up()
        self.twin.link_up()
        if self._client_twins is not None:
            self._client_twins.link_up()
        self._refresh_identities()

    def link_down(self, reason: str) -> None:
        log.log(logging.INFO if self._stopping else logging.WARNING, "Lost the parent hub: %s", reason)
        self._totals.link_down()
        self.twin.link_down()
        if self._client_twins is not None:
            self._client_twins.link_down()

    def client_unauthorized(self, identity: str) -> None:
        self._unauthorized(IdentityId.parse(identity))

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        if identity != str(self._own):
            if self._client_twins is not None:
                self._client_twins.desired_patch(IdentityId.parse(identity), patch)
        elif self._follow_twin:
            self.twin.desired_patch(patch)

    def desired_missed(self, identity: str) -> None:
        if identity != str(self._own):
            if self._client_twins is not None:
                self._client_twins.desired_missed(IdentityId.parse(identity))
        elif self._follow_twin:
            self.twin.desired_missed()
