"""Restart for a new server certificate (settings spec 7.5)."""

from __future__ import annotations

import asyncio

import pytest

from edgehub.hub.renewal import renewal_due_s, wait_for_renewal
from testkit.clock import ManualClock

NOW_S = 1_767_225_600.0
NEVER_MS = 2_147_483_647


@pytest.mark.parametrize(
    "expires",
    ["2026-01-02T00:00:00+00:00", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00", "2026-01-02T01:00:00+01:00"],
)
def test_it_is_due_before_the_end(expires: str) -> None:
    assert renewal_due_s(expires, NEVER_MS, NOW_S) == NOW_S + 86_400 - 150


def test_it_can_be_forced_earlier() -> None:
    assert renewal_due_s("2030-01-01T00:00:00Z", 5000, NOW_S) == NOW_S + 5


def test_an_end_that_cannot_be_read_is_not_watched() -> None:
    assert renewal_due_s("soon", NEVER_MS, NOW_S) is None


async def test_the_restart_is_asked_for_once_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept, restarts = ManualClock(NOW_S), list[float](), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await wait_for_renewal(NOW_S + 9000, clock, lambda: restarts.append(clock.wall_s()))
    assert restarts == [NOW_S + 9000]
    assert slept == [3600, 3600, 1800]


async def test_a_certificate_that_has_already_ended_restarts_at_once() -> None:
    restarts = list[int]()
    await asyncio.wait_for(wait_for_renewal(NOW_S - 1, ManualClock(NOW_S), lambda: restarts.append(1)), 5)
    assert restarts == [1]
