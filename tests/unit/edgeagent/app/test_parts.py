"""Parts that fail are started again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.app.parts import RESTART_S, kept

if TYPE_CHECKING:
    import pytest


async def test_a_part_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs, pauses = [], []

    async def run() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("broken")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await kept("metrics", run, sleep)
    assert (len(runs), pauses) == (3, [RESTART_S, RESTART_S])
    assert caplog.text.count("metrics failed, and is started again in 30 s") == 2
