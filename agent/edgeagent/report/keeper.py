"""Reports the newest state in the background: the loop puts it here and never waits for a hub."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgeagent.report.outcome import version_to_report
from edgeagent.report.snapshot import BuildInfo, Platform, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
    from edgeagent.model.module import Deployment
    from edgeagent.report.outcome import Outcome
    from edgeagent.report.reporter import Reporter

SHUTDOWN_S: Final = 10.0
"""For the last report."""

log = logging.getLogger(__name__)


class Round(Protocol):
    """What the loop knows after a round."""

    @property
    def status(self) -> Outcome: ...
    @property
    def version(self) -> int: ...
    @property
    def deployment(self) -> Deployment | None: ...
    @property
    def current(self) -> Mapping[str, CurrentModule] | None: ...
    @property
    def statuses(self) -> Mapping[str, RuntimeStatus]: ...
    @property
    def restarts(self) -> Mapping[str, Restarts]: ...
    @property
    def waiting(self) -> Mapping[str, str]: ...


class ReportKeeper:
    """Between the loop and the reporter: the newest round counts, older ones are gone."""

    def __init__(self, reporter: Reporter, platform: Platform, build: BuildInfo) -> None:
        self._reporter = reporter
        self._platform = platform
        self._build = build
        self._latest: Round | None = None
        self._reported: Round | None = None
        self._news = asyncio.Event()

    def publish(self, snapshot: Round) -> None:
        """Replaces what was to be reported before."""
        self._latest = snapshot
        self._news.set()

    def sync(self, reported: Mapping[str, Any]) -> None:
        """The whole twin was read: what it says is compared with the newest state at once."""
        self._reporter.sync(reported)
        self._reported = None
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. What fails is tried again with the next round."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            latest = self._latest
            if latest is None or latest == self._reported:
                continue
            if await self._reporter.report(self._snapshot(latest), loop.time()):
                self._reported = latest

    def _snapshot(self, latest: Round) -> Snapshot:
        return Snapshot(
            platform=self._platform,
            build=self._build,
            # A restart does not take back what was reported before it.
            version=version_to_report(latest.version, self._reporter.last_desired_version),
            outcome=latest.status,
            deployment=latest.deployment,
            current=latest.current,
            restarts=latest.restarts,
            statuses=latest.statuses,
            details=latest.waiting,
        )

    async def shutdown(self) -> None:
        """The last word, if the hub hears it in time; :meth:`run` must have ended."""
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await self._reporter.shutdown(asyncio.get_running_loop().time())
        except TimeoutError:
            log.warning("The hub did not hear in time that the agent ends")
