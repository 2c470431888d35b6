"""The thread that talks to the registry database, for both kinds of databases."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from iothub.database import Database
from iothub.errors import ErrorCode, HubError, device_not_found
from iothub.registry.schema import DatabaseError, meta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def database(place: Path | str) -> AsyncIterator[Database]:
    made = Database(place)
    yield made
    made.close()


async def test_work_is_done_in_order_on_one_thread(database: Database) -> None:
    done: list[int] = []
    threads: set[str] = set()

    async def one(number: int) -> None:
        def work() -> int:
            threads.add(threading.current_thread().name.partition("_")[0])
            return number

        done.append(await database.run(work))

    await asyncio.gather(*(one(number) for number in range(50)))
    assert done == list(range(50))
    assert threads == {"registry"}


async def test_a_failed_change_is_undone_and_its_error_told(database: Database) -> None:
    def fails() -> None:
        with database.engine.begin() as connection:
            connection.execute(meta.update().values(value=77))
            raise device_not_found("d1")

    with pytest.raises(HubError) as caught:
        await database.run(fails)
    assert caught.value.code is ErrorCode.DeviceNotFound

    def values() -> list[int]:
        with database.engine.connect() as connection:
            return list(connection.scalars(select(meta.c.value).order_by(meta.c.name)))

    assert await database.run(values) == [0, 1]


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError, InternalError])
async def test_a_database_without_answer_is_unavailable_and_its_words_stay_here(
    database: Database, kind: type[DBAPIError]
) -> None:
    def breaks() -> None:
        raise kind("SELECT secret", {"key": "secret"}, Exception("disk I/O error"))

    with pytest.raises(HubError) as caught:
        await database.run(breaks)
    assert caught.value.code is ErrorCode.ServiceUnavailable
    assert caught.value.message == "The registry database does not answer. Try again later."


async def test_close_waits_for_what_is_queued(place: Path | str) -> None:
    database = Database(place)
    waiting = [asyncio.create_task(database.run(lambda: 5)) for _ in range(3)]
    await asyncio.sleep(0)
    database.close()
    assert await asyncio.gather(*waiting) == [5, 5, 5]


def test_a_file_that_is_no_database_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(b"text of a person" * 1000)
    with pytest.raises(DatabaseError) as caught:
        Database(path)
    assert str(caught.value) == f"{path} cannot be used: file is not a database"
    assert path.read_bytes() == b"text of a person" * 1000
