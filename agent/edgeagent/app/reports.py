"""Sends what the loop reports, one state after the other; states that are overtaken are never sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgeagent.report.outcome import Outcome
from edgeagent.report.snapshot import Snapshot as Report

if TYPE_CHECKING:
    from edgeagent.reconcile.ports import Snapshot
    from edgeagent.report.reporter import Reporter
    from edgeagent.report.snapshot import BuildInfo, Platform

RETRY_S = 5.0


class ReportPump:
    """Takes snapshots from the loop and hands the newest to the reporter."""

    def __init__(self, reporter: Reporter, platform: Platform, build: BuildInfo) -> None:
        self._reporter = reporter
        self._platform = platform
        self._build = build
        self._newest: Snapshot | None = None
        self._wake = asyncio.Event()

    def publish(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        self._wake.set()

    def send_again(self) -> None:
        """The hub may know less than was thought."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._newest is not None and not await self._send(self._newest):
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _send(self, snapshot: Snapshot) -> bool:
        now = asyncio.get_running_loop().time()
        return await self._reporter.report(self._report_of(snapshot), now)

    def _report_of(self, snapshot: Snapshot) -> Report:
        before = self._reporter.last_desired_version or 0
        return Report(
            platform=self._platform,
            build=self._build,
            version=snapshot.version or before,
            outcome=Outcome(snapshot.status.code, snapshot.status.description),
            deployment=snapshot.deployment,
            current=snapshot.current,
            restarts=snapshot.restarts,
            statuses=snapshot.statuses,
            details=snapshot.waiting,
        )


class NoReports:
    """Without a hub nobody is told."""

    def publish(self, snapshot: Snapshot) -> None:
        """The log has it all."""
