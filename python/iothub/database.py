"""The one thread that talks to the registry database, and its async door."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from iothub.errors import ErrorCode, HubError
from iothub.registry.schema import DatabaseError, open_database, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Database:
    """Runs synchronous database work on one thread, in order; results reach the loop in the same order.

    :param place: file of the registry database, or URL of one in PostgreSQL.
    :raises SchemaError: the database is newer than this program, or another program's.
    :raises DatabaseError: it cannot be opened.
    """

    def __init__(self, place: Path | str) -> None:
        if isinstance(place, Path):
            self.engine = open_database(place)
        else:
            # Late: who has a file needs none of it.
            from iothub.registry.postgresql import open_postgresql  # noqa: PLC0415

            self.engine = open_postgresql(place)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="registry")
        self._answers = True

    async def run(self, work: Callable[[], T]) -> T:
        """Result of `work()` on the database thread.

        :raises HubError: 503001, the database does not answer; what the work did is undone, unless the
            connection broke during the very commit. Every other error is that of the work.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            result = work()
        # InternalError: among others a server that takes no changes while another one takes over.
        except (OperationalError, InterfaceError, InternalError, NoConnection, DatabaseError) as error:
            if self._answers:
                log.error("the registry database does not answer: %s", reason_of(error))
            self._answers = False
            text = "The registry database does not answer. Try again later."
            raise HubError(ErrorCode.ServiceUnavailable, text) from None
        if not self._answers:
            log.warning("the registry database answers again")
            self._answers = True
        return result

    def close(self) -> None:
        """Waits for what is queued, then closes."""
        self._thread.shutdown()
        self.engine.dispose()
