"""A parent hub for twins: keeps documents, and does what a test says."""

from __future__ import annotations

import asyncio
from typing import Any

from edgehub.common.merge_patch import merge
from edgehub.errors import EdgehubError
from edgehub.hub.twins.parent import ReportAnswer, TwinDocument


class FakeParentTwins:
    """Every identity has a twin. Calls are kept in `calls`.

    :ivar fails: calls fail while it is set.
    :ivar held: calls wait while it is not set.
    :ivar refuses: names of members that no reported patch may have.
    :ivar prepared: answers to the next reads, made before what happened since.
    """

    def __init__(self) -> None:
        self.desired: dict[str, dict[str, Any]] = {}
        self.reported: dict[str, dict[str, Any]] = {}
        self.following: set[str] = set()
        self.calls: list[tuple[str, str, Any]] = []
        self.fails = False
        self.refuses: set[str] = set()
        self.prepared: list[TwinDocument] = []
        self.held = asyncio.Event()
        self.held.set()

    async def read_twin(self, identity: str) -> TwinDocument:
        await self._answer("read", identity, None)
        if self.prepared:
            return self.prepared.pop(0)
        # As it is when the answer is made, not when it was asked for.
        return TwinDocument(dict(self.desired_of(identity)), dict(self.reported_of(identity)))

    async def report(self, identity: str, patch: dict[str, Any]) -> ReportAnswer:
        await self._answer("report", identity, patch)
        if self.refuses & patch.keys():
            return ReportAnswer(refused="400 not that")
        before = self.reported_of(identity)
        version = before["$version"] + 1
        self.reported[identity] = {**merge(before, patch), "$version": version}
        return ReportAnswer(version)

    def follow_desired(self, identity: str, *, wanted: bool) -> None:
        (self.following.add if wanted else self.following.discard)(identity)

    def desired_of(self, identity: str) -> dict[str, Any]:
        return self.desired.setdefault(identity, {"$version": 1})

    def reported_of(self, identity: str) -> dict[str, Any]:
        return self.reported.setdefault(identity, {"$version": 1})

    def change_desired(self, identity: str, patch: dict[str, Any]) -> dict[str, Any]:
        """A change by an operator; returns the notification."""
        before = self.desired_of(identity)
        notification = {**patch, "$version": before["$version"] + 1}
        self.desired[identity] = merge(before, notification)
        return notification

    def take(self, *names: str) -> list[tuple[str, str, Any]]:
        """Calls since the last time; with names, only those."""
        calls, self.calls = self.calls, []
        return [call for call in calls if not names or call[0] in names]

    async def _answer(self, name: str, identity: str, patch: Any) -> None:
        self.calls.append((name, identity, patch))
        await self.held.wait()
        if self.fails:
            raise EdgehubError("the parent hub does not answer")
