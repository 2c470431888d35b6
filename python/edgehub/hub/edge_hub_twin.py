"""The twin of `$edgeHub`: desired properties become routes, status and clients are reported back.

Sequence at start and later: settings spec 3.3. The stored configuration serves at once; without one the
start waits for the parent hub.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from edgehub.config.desired import document_version
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.hub.ports import HubTwin
    from edgehub.hub.reported import ReportedState
    from edgehub.hub.routes import RoutesService

PATCHES_WAITING_MAX = 100
"""Desired patches that may wait to be applied; beyond them the whole twin is read instead."""
RETRY_S = 10.0
"""Gap between attempts to read the twin while the link is up but the call fails."""

log = logging.getLogger(__name__)


class EdgeHubTwin:
    """Keeps routes and reported properties in step with the parent hub.

    :param refresh_s: period of reading the whole twin again.
    :param reported_gap_s: least time between two reported patches.
    """

    def __init__(
        self,
        twin: HubTwin,
        routes: RoutesService,
        reported: ReportedState,
        clock: Clock,
        *,
        refresh_s: float,
        reported_gap_s: float,
    ) -> None:
        self._twin = twin
        self._routes = routes
        self._reported = reported
        self._clock = clock
        self._refresh_s = refresh_s
        self._reported_gap_s = reported_gap_s
        self._patches: list[Mapping[str, Any]] = []
        self._online = False
        self._full_wanted = True
        self._version: int | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._desired_wake = asyncio.Event()
        self._reported_wake = asyncio.Event()
        self.first_outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when a twin was read for the first time, whether it was usable or not."""

    # Events of the link.

    def link_up(self) -> None:
        """The parent hub can be reached: read the whole twin and tell what happened meanwhile."""
        self._online = True
        self._full_wanted = True
        self._desired_wake.set()
        self._reported_wake.set()

    def link_down(self) -> None:
        """The parent hub cannot be reached; changes gather until it can."""
        self._online = False

    def desired_patch(self, patch: Mapping[str, Any]) -> None:
        """A desired-properties patch arrived."""
        if len(self._patches) < PATCHES_WAITING_MAX:
            self._patches.append(patch)
        else:
            self._full_wanted = True
        self._desired_wake.set()

    def desired_missed(self) -> None:
        """Patches may have gone astray."""
        self._want_full()

    # Events of the heads (`ClientObserver`).

    def connected(self, identity: IdentityId) -> None:
        self._reported.connected(identity, self._clock.wall_s())
        self._reported_wake.set()

    def disconnected(self, identity: IdentityId) -> None:
        self._reported.disconnected(identity, self._clock.wall_s())
        self._reported_wake.set()

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        return

    # The two loops; cancelled at shutdown.

    async def run_desired(self) -> None:
        """Applies full documents and patches, one at a time, in the order of arrival."""
        while True:
            try:
                async with asyncio.timeout(self._refresh_s):
                    await self._desired_wake.wait()
            except TimeoutError:
                self._full_wanted = True
            self._desired_wake.clear()
            await self._apply_waiting()

    async def run_reported(self) -> None:
        """Sends what gathered, at most one patch per gap."""
        while True:
            await self._reported_wake.wait()
            self._reported_wake.clear()
            await self.flush_reported()
            await asyncio.sleep(self._reported_gap_s)
            if self._online and self._reported.pending:
                self._reported_wake.set()

    async def flush_reported(self) -> None:
        """Sends everything that gathered, if the parent hub can be reached."""
        while self._online:
            patch = self._reported.take()
            if patch is None:
                return
            try:
                refused = await self._twin.patch_reported(patch)
            except EdgehubError as error:
                self._reported.put_back(patch)
                log.warning("Could not update the reported properties of edge hub: %s", error)
                return
            except BaseException:
                self._reported.put_back(patch)
                raise
            if refused is not None:
                log.warning("The parent hub does not take reported properties of edge hub: %s", refused)
                self._reported.refused(patch)

    async def _apply_waiting(self) -> None:
        if self._full_wanted and self._online:
            await self._read_twin()
        while self._patches and not self._full_wanted:
            self._apply_patch(self._patches.pop(0))

    def _apply_patch(self, patch: Mapping[str, Any]) -> None:
        """Applies a patch that follows the known version; an older one is skipped, a gap is closed by
        reading the whole twin."""
        version = document_version(patch)
        if version is not None and self._version is not None:
            if version <= self._version:
                return
            if version != self._version + 1:
                self._want_full()
                return
        status = self._routes.take_patch(patch)
        if status is None:
            self._want_full()
            return
        self._version = version
        self._reported.configured(status)
        self._reported_wake.set()

    def _want_full(self) -> None:
        self._full_wanted = True
        self._desired_wake.set()

    def _retry_later(self) -> None:
        """One retry at a time, whatever else asks for reads that fail."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._desired_wake.set)

    async def _read_twin(self) -> None:
        try:
            document = await self._twin.get_desired()
        except EdgehubError as error:
            log.warning("Could not obtain the twin of edge hub: %s", error)
            self._retry_later()
            return
        # Patches that arrived meanwhile stay; those the document already holds are skipped by version.
        self._full_wanted = False
        self._version = document_version(document)
        log.info("Obtained edge hub config from module twin")
        self._reported.configured(self._routes.take_document(document))
        self._reported_wake.set()
        if not self.first_outcome.done():
            self.first_outcome.set_result(None)
