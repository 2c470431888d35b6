"""The registry in PostgreSQL: URLs, refusals in one clear line without secrets, one hub at a time, and what
happens when the server goes away."""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.pool import NullPool

from iothub.database import Database
from iothub.errors import ErrorCode, HubError
from iothub.registry.model import parse_device
from iothub.registry.postgresql import name_of, open_postgresql, parse_url
from iothub.registry.schema import DatabaseError, SchemaError, devices, meta
from iothub.registry.store import RegistryStore
from testkit.postgresql import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testkit.postgresql import Server

SECRET = "top5ecret"


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    with postgresql.database() as made:
        yield made


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_urls_that_mean_the_same(scheme: str) -> None:
    read = parse_url(f"  {scheme}://me:{SECRET}@db.test:5433/fleet?sslmode=verify-full\n")
    assert (read.drivername, read.host, read.port, read.database) == (
        "postgresql+psycopg", "db.test", 5433, "fleet",
    )  # fmt: skip
    assert (read.username, read.password) == ("me", SECRET)
    assert read.query == {"sslmode": "verify-full"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"postgresql://me:{SECRET}@db.test:5433/fleet", "PostgreSQL database fleet at db.test:5433"),
        ("postgresql://db.test/fleet", "PostgreSQL database fleet at db.test"),
        ("postgresql:///fleet?host=/run/postgresql", "PostgreSQL database fleet at /run/postgresql"),
        ("postgresql:///fleet?host=a&host=b", "PostgreSQL database fleet at a, b"),
        ("postgresql://", "PostgreSQL database of the default name at the default host"),
    ],
)
def test_names_for_errors(text: str, name: str) -> None:
    assert name_of(parse_url(text)) == name


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"nonsense {SECRET}", "must look like postgresql"),
        ("", "must look like postgresql"),
        (f"postgresql://me:{SECRET}@db.test:port/fleet", "must look like postgresql"),
        (f"mysql://me:{SECRET}@db.test/fleet", "SQLite file in the data folder"),
        ("sqlite:////var/lib/hub.db", "SQLite file in the data folder"),
        (f"postgresql+asyncpg://me:{SECRET}@db.test/fleet", "must look like postgresql"),
        (f"postgresql://me:x@{SECRET}@db.test/fleet", "write @ as %40"),
        (f"postgresql://me:1@x/{SECRET}@db.test/fleet", "write @ as %40"),
    ],
)
def test_bad_urls_are_told_without_their_text(text: str, hint: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_postgresql(text)
    assert hint in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"pip install 'edgehub\[postgresql\]'"):
        open_postgresql(f"postgresql://me:{SECRET}@db.test/fleet")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_postgresql(f"postgresql://me:{SECRET}@/fleet?host={tmp_path}")
    text = str(caught.value)
    assert text.startswith(f"PostgreSQL database fleet at {tmp_path} cannot be used: ")
    assert "No such file or directory" in text
    assert "\n" not in text
    assert SECRET not in text


def test_a_wrong_password_and_a_database_that_is_not_there(postgresql: Server, url: str) -> None:
    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        open_postgresql(postgresql.url("postgres", SECRET))
    assert SECRET not in str(caught.value)
    with pytest.raises(DatabaseError, match='database "absent" does not exist') as caught:
        open_postgresql(postgresql.url("absent"))
    assert PASSWORD not in str(caught.value)


def test_a_password_that_the_driver_repeats_is_hidden(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_postgresql(f"postgresql:///fleet?host={tmp_path}&password={SECRET}&sslmode={SECRET}")
    assert SECRET not in str(caught.value)


def test_another_encoding_is_refused(postgresql: Server) -> None:
    with postgresql.database(encoding="SQL_ASCII") as url:
        for _ in range(2):
            with pytest.raises(
                DatabaseError, match="has the encoding SQL_ASCII; make it with ENCODING 'UTF8'"
            ):
                open_postgresql(url)


def test_a_newer_format_is_refused_and_left_as_it_is(url: str) -> None:
    engine = open_postgresql(url)
    with engine.begin() as connection:
        connection.execute(meta.update().where(meta.c.name == "schema").values(value=99))
        devices.drop(connection)
    engine.dispose()
    with pytest.raises(SchemaError, match="has format 99; this program knows up to 1"):
        open_postgresql(url)
    assert not inspect(create_engine(url, poolclass=NullPool)).has_table(devices.name)


def test_tables_of_another_program_are_left_alone(postgresql: Server, url: str) -> None:
    engine = open_postgresql(url)
    with engine.begin() as connection:
        connection.execute(meta.delete())
    engine.dispose()
    with pytest.raises(SchemaError, match=r"tables of another program \(.*devices, meta, .*give iothub one"):
        open_postgresql(url)


def test_one_hub_at_a_time(url: str) -> None:
    first = open_postgresql(url)
    with pytest.raises(DatabaseError, match="is in use by another iothub; stop that one first"):
        open_postgresql(url, lock_wait_ms=1)
    first.dispose()
    open_postgresql(url).dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


def put(store: RegistryStore, device_id: str) -> Callable[[], Any]:
    return lambda: store.put_device(parse_device(device_id, {}), None)


async def test_a_lost_connection_is_made_anew_and_locked_again(
    postgresql: Server, url: str, database: Database
) -> None:
    store = RegistryStore(database.engine, lambda: 1.0)
    await database.run(put(store, "d1"))
    postgresql.cut(url)
    await database.run(put(store, "d2"))
    assert await database.run(lambda: len(store.devices(10))) == 2
    with pytest.raises(DatabaseError, match="in use by another iothub"):
        open_postgresql(url, lock_wait_ms=1)


async def test_work_whose_connection_breaks_is_undone(
    postgresql: Server, url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = RegistryStore(database.engine, lambda: 1.0)

    def breaks() -> None:
        with database.engine.begin() as connection:
            connection.execute(meta.update().values(value=77))
            postgresql.cut(url)
            connection.execute(select(meta))

    with caplog.at_level(logging.WARNING, "iothub.database"):
        for _ in range(2):
            with pytest.raises(HubError) as caught:
                await database.run(breaks)
            assert caught.value.code is ErrorCode.ServiceUnavailable
        device = await database.run(put(store, "d1"))
    assert device.revision == 1
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in said] == [
        "the registry database does not answer",
        "the registry database answers again",
    ]
    assert PASSWORD not in "".join(said)


async def test_another_hub_took_the_database(
    postgresql: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hubs with one database would each miss the changes of the other."""
    impatient = functools.partial(open_postgresql, lock_wait_ms=1)
    with monkeypatch.context() as patch:
        patch.setattr("iothub.registry.postgresql.open_postgresql", impatient)
        database = Database(url)
    store = RegistryStore(database.engine, lambda: 1.0)
    postgresql.cut(url)
    other = open_postgresql(url)
    with pytest.raises(HubError, match="does not answer"):
        await database.run(lambda: store.device("d1"))
    other.dispose()
    database.close()


async def test_statements_and_errors_show_no_keys(database: Database) -> None:
    store = RegistryStore(database.engine, lambda: 1.0)
    device = await database.run(put(store, "d1"))

    def twice() -> None:
        with database.engine.begin() as connection:
            key = device.authentication.primary_key
            connection.execute(devices.insert().values(device_id="d1", primary_key=key, status="x" * 17))

    with pytest.raises(Exception, match="hide_parameters") as caught:
        await database.run(twice)
    assert str(device.authentication.primary_key) not in str(caught.value)
