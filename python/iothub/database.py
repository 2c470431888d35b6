"""The one thread that talks to the registry database, and its async door."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from iothub.registry.schema import open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Database:
    """Runs synchronous database work on one thread, in order; results reach the loop in the same order.

    :param path: file of the registry database.
    :raises SchemaError: the file is newer than this program.
    """

    def __init__(self, path: Path) -> None:
        self.engine = open_database(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="registry")

    async def run(self, work: Callable[[], T]) -> T:
        """Result of `work()` on the database thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Waits for what is queued, then closes."""
        self._thread.shutdown()
        self.engine.dispose()
