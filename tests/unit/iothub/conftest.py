"""Registry databases of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testkit.postgresql import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a registry database is to be: a file that is not there yet, or an empty one of PostgreSQL."""
    if request.param == "sqlite":
        yield tmp_path / "hub.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url
