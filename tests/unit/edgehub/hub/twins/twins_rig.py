"""Twins of clients with a parent hub, a store in memory, and hands to move the time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.hub.twins.service import ClientTwins
from edgehub.hub.twins.store import TwinStore
from edgehub.protocol.topics import SubscriptionKind
from testkit.clock import ManualClock
from testkit.parent_twins import FakeParentTwins

DESIRED = frozenset({SubscriptionKind.DESIRED_PROPERTIES})
NOTHING: frozenset[SubscriptionKind] = frozenset()
SETTLE_TURNS = 30
"""Turns of the loop after which nothing happens any more."""


class TwinsRig:
    """`told` has what clients were sent, `changes` what routes hear, `counts` what the metrics count."""

    def __init__(self, *, gap_s: float = 0.0, refresh_gap_s: float = 120.0) -> None:
        self.clock = ManualClock()
        self.state = MemoryState()
        self.parent = FakeParentTwins()
        self.told: list[tuple[str, int | None, dict[str, Any]]] = []
        self.changes: list[tuple[str, bytes]] = []
        self.counts: list[tuple[str, ...]] = []
        self._gap_s = gap_s
        self._refresh_gap_s = refresh_gap_s
        self.twins = self._make()
        self._task = asyncio.create_task(self.twins.run())

    def _make(self) -> ClientTwins:
        return ClientTwins(
            TwinStore(self.state, None),
            self.parent,
            self.clock,
            self,
            deliver=lambda identity, version, body: self.told.append(
                (str(identity), version, json.loads(body))
            ),
            changed=lambda identity, body: self.changes.append((str(identity), body)),
            gap_s=self._gap_s,
            refresh_gap_s=self._refresh_gap_s,
        )

    async def restart(self) -> None:
        """A new hub on the same state; the link is down, and nobody is connected."""
        await self.stop()
        self.parent.following.clear()
        self.twins = self._make()
        self._task = asyncio.create_task(self.twins.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    async def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.twins.get(IdentityId.parse(name)))
        return found

    async def report(self, name: str, patch: dict[str, Any]) -> None:
        await self.twins.report(IdentityId.parse(name), json.dumps(patch).encode())
        await self.settle()

    def subscribe(self, name: str) -> None:
        self.twins.connected(IdentityId.parse(name))
        self.twins.subscriptions(IdentityId.parse(name), DESIRED)

    async def change_desired(self, name: str, patch: dict[str, Any], *, arrives: bool = True) -> None:
        notification = self.parent.change_desired(name, patch)
        if arrives and name in self.parent.following:
            self.twins.desired_patch(IdentityId.parse(name), notification)
        await self.settle()

    async def link_up(self) -> None:
        self.twins.link_up()
        await self.settle()

    def take_told(self) -> list[tuple[str, int | None, dict[str, Any]]]:
        told, self.told = self.told, []
        return told

    # TwinObserver

    def twin_read(self, identity: IdentityId, source: str, seconds: float) -> None:
        self.counts.append(("read", str(identity), source))

    def twin_reported(self, identity: IdentityId, target: str, seconds: float) -> None:
        self.counts.append(("reported", str(identity), target))

    def report_refused(self, identity: IdentityId) -> None:
        self.counts.append(("refused", str(identity)))
