"""A head with the routes for child edge devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.children import ChildBench, Door
from testkit.https import HOST, TrustedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> TrustedServer:
    return TrustedServer(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def child_door(trusted: TrustedServer) -> AsyncIterator[Door]:
    bench = ChildBench()
    head = bench.head()
    head.use_certificate(trusted.chain_pem, trusted.key_pem)
    port = await head.start(HOST, 0)
    async with trusted.session() as session:
        yield Door(bench, session, f"https://{HOST}:{port}")
    await head.close()
