"""Syncs with the hub (row X17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.link.errors import LinkDownError, LinkTimeoutError
from edgeagent.link.twin import Twin
from edgeagent.metrics.link import CountedLink
from edgeagent.metrics.totals import AgentTotals

if TYPE_CHECKING:
    from collections.abc import Mapping


class Link:
    """:ivar fault: what every call raises."""

    fault: Exception | None = None

    async def get_twin(self) -> Twin:
        if self.fault:
            raise self.fault
        return Twin(version=3, desired={}, reported={})

    async def report(self, patch: Mapping[str, Any]) -> object:
        if self.fault:
            raise self.fault
        return 7


async def test_x17_reads_and_reports_are_counted() -> None:
    totals, link = AgentTotals(60, lambda: 0.0), Link()
    counted = CountedLink(link, totals)
    assert (await counted.get_twin()).version == 3
    assert await counted.report({}) == 7
    assert (totals.syncs, totals.syncs_failed) == (2, 0)
    link.fault = LinkTimeoutError("no answer")
    with pytest.raises(LinkTimeoutError):
        await counted.get_twin()
    with pytest.raises(LinkTimeoutError):
        await counted.report({})
    assert (totals.syncs, totals.syncs_failed) == (4, 2)


async def test_what_was_not_tried_is_not_counted() -> None:
    totals, link = AgentTotals(60, lambda: 0.0), Link()
    link.fault = LinkDownError("no connection")
    with pytest.raises(LinkDownError):
        await CountedLink(link, totals).report({})
    assert (totals.syncs, totals.syncs_failed) == (0, 0)
