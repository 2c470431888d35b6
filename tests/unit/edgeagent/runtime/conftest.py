"""An engine that fails when told to, and the door to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeagent.runtime.engine import Engine
from testkit.fake_engine import running_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from testkit.fake_engine import FakeEngine


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with running_engine() as fake:
        yield fake


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    async with Engine(fake.address) as engine:
        yield engine
