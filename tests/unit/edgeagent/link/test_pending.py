"""The table of requests."""

from __future__ import annotations

import pytest

from edgeagent.link.errors import LinkBusyError
from edgeagent.link.pending import PendingRequests


def test_an_answer_meets_who_asked() -> None:
    table: PendingRequests[str] = PendingRequests()
    first, second = table.add("a"), table.add("b")
    assert first != second
    assert table.take(second) == "b"
    assert table.take(second) is None
    assert table.take("nonsense") is None
    assert len(table) == 1


def test_its_limit_and_one_beyond() -> None:
    table: PendingRequests[int] = PendingRequests(limit=2)
    rid = table.add(1)
    table.add(2)
    with pytest.raises(LinkBusyError, match="2 requests"):
        table.add(3)
    table.take(rid)
    assert table.add(3) not in (rid, "2")


def test_drained() -> None:
    table: PendingRequests[int] = PendingRequests()
    rid = table.add(1)
    assert table.drain() == [1]
    assert table.take(rid) is None
    assert table.add(1) != rid
