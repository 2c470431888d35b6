"""Counts what goes to and fro between the agent and its twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgeagent.link.errors import LinkDownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.link.twin import Twin
    from edgeagent.metrics.totals import AgentTotals


class TwinLink(Protocol):
    """What is counted of :class:`~edgeagent.link.client.UpstreamLink`."""

    async def get_twin(self) -> Twin:
        """Reads the whole twin."""
        ...

    async def report(self, patch: Mapping[str, Any]) -> object:
        """Merges into the reported properties."""
        ...


class CountedLink:
    """A link whose reads and reports count as syncs; goes where the link itself would go.

    While there is no connection nothing is tried, so nothing is counted.
    """

    def __init__(self, link: TwinLink, totals: AgentTotals) -> None:
        self._link = link
        self._totals = totals

    async def get_twin(self) -> Twin:
        """:raises LinkError: as the link."""
        try:
            twin = await self._link.get_twin()
        except Exception as fault:
            self._failed(fault)
            raise
        self._totals.synced(failed=False)
        return twin

    async def report(self, patch: Mapping[str, Any]) -> object:
        """:raises LinkError: as the link."""
        try:
            answer = await self._link.report(patch)
        except Exception as fault:
            self._failed(fault)
            raise
        self._totals.synced(failed=False)
        return answer

    def _failed(self, fault: Exception) -> None:
        if not isinstance(fault, LinkDownError):
            self._totals.synced(failed=True)
