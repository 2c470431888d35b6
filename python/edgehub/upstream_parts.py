"""The hub's side of the parent hub: connects the link's events with routes, reports and identities."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgehub import __version__
from edgehub.hub.edge_hub_twin import EdgeHubTwin
from edgehub.hub.reported import ReportedState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edgehub.common.clock import Clock
    from edgehub.config.settings import Settings, UpstreamSettings
    from edgehub.hub.own_identity import HubIdentity
    from edgehub.hub.own_key import OwnKey
    from edgehub.hub.ports import ChainOf, HubTwin, UpstreamCore, UpstreamLink
    from edgehub.hub.routes import RoutesService
    from edgehub.identity.refresher import ScopeApi
    from edgehub.metrics.totals import HubTotals

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


@dataclass(frozen=True, slots=True)
class ParentHub:
    """What the link to a parent hub offers.

    :param link: the connection itself; reports to a `LinkListener`.
    :param twin: the twin of our module over that connection.
    :param scope_api: the identities in our scope, over HTTPS.
    :param close: frees what the scope API holds open.
    """

    link: UpstreamLink
    twin: HubTwin
    scope_api: ScopeApi
    close: Callable[[], Awaitable[None]]


class UpstreamParts:
    """Everything that happens because there is a parent hub.

    :param follow_twin: whether the routes come from the twin; otherwise it is only reported to.
    """

    def __init__(
        self,
        parent: ParentHub,
        routes: RoutesService,
        totals: HubTotals,
        clock: Clock,
        settings: UpstreamSettings,
        *,
        follow_twin: bool,
    ) -> None:
        self._link = parent.link
        self._close = parent.close
        self.scope_api = parent.scope_api
        self._totals = totals
        self._follow_twin = follow_twin
        self._stopping = False
        self._refresh_identities: Callable[[], None] = lambda: None
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
        self._refresh_identities()

    def link_down(self, reason: str) -> None:
        log.log(logging.INFO if self._stopping else logging.WARNING, "Lost the parent hub: %s", reason)
        self._totals.link_down()
        self.twin.link_down()

    def desired_patch(self, patch: dict[str, Any]) -> None:
        if self._follow_twin:
            self.twin.desired_patch(patch)
