"""Tables of the registry database, in portable SQL: SQLite here, PostgreSQL through `registry.postgresql`.

Keys are stored readable: the hub must compute signatures with them. The file is created with mode 0600.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeDecorator

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

SCHEMA_VERSION: Final = 1
metadata = MetaData()


class IdText(TypeDecorator[str]):
    """Ids and scopes: compared byte by byte in every database, so that listings and pages have one order.

    PostgreSQL cannot hold NUL. No id has one, so asking for such an id must find nothing, not fail: it is
    asked for with another character that no id has either.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text of one database."""
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(self.length, collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Text on its way to the database."""
        return None if value is None else value.replace("\x00", "\ufffd")


def _identity_columns() -> list[Column[Any]]:
    return [
        Column("generation_id", String(32), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("auth_type", String(32), nullable=False),
        Column("primary_key", String(128)),
        Column("secondary_key", String(128)),
        Column("primary_thumbprint", String(64)),
        Column("secondary_thumbprint", String(64)),
    ]


meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("primary_key", String(128), nullable=False),
    Column("secondary_key", String(128), nullable=False),
    Column("permissions", String(128), nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("device_id", IdText(128), primary_key=True),
    *_identity_columns(),
    Column("status", String(16), nullable=False),
    Column("status_reason", String(128)),
    Column("status_updated_ms", BigInteger),
    Column("iot_edge", Boolean, nullable=False),
    Column("device_scope", IdText(256)),
    Column("parent_scope", IdText(256)),
    Index("devices_by_parent", "parent_scope"),
    Index("devices_by_scope", "device_scope"),
)

modules = Table(
    "modules",
    metadata,
    Column("device_id", IdText(128), primary_key=True),
    Column("module_id", IdText(128), primary_key=True),
    *_identity_columns(),
    Column("managed_by", String(128)),
)

twins = Table(
    "twins",
    metadata,
    Column("device_id", IdText(128), primary_key=True),
    Column("module_id", IdText(128), primary_key=True, comment="empty for the device's own twin"),
    Column("tags", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("desired_metadata", Text, nullable=False),
    Column("desired_version", BigInteger, nullable=False),
    Column("reported", Text, nullable=False),
    Column("reported_metadata", Text, nullable=False),
    Column("reported_version", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("etag", BigInteger, nullable=False),
)

_SEQUENCE: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in an INTEGER column, which has 64 bits there."""

c2d_messages = Table(
    "c2d_messages",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True),
    Column("device_id", IdText(128), nullable=False),
    Column("message_id", IdText(128)),
    Column("ack", String(8), nullable=False),
    Column("enqueued_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("delivery_count", BigInteger, nullable=False),
    Column("lock_token", String(36)),
    Column("locked_until_ms", BigInteger),
    Column("content", LargeBinary, nullable=False, comment="the whole message, MessagePack"),
    Index("c2d_messages_by_device", "device_id"),
    Index("c2d_messages_by_lock", "locked_until_ms"),
    Index("c2d_messages_by_expiry", "expires_ms"),
    sqlite_autoincrement=True,
)

c2d_feedback = Table(
    "c2d_feedback",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True),
    Column("device_id", IdText(128), nullable=False),
    Column("generation_id", String(32), nullable=False),
    Column("message_id", IdText(128), nullable=False),
    Column("status", String(32), nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("deliveries", BigInteger, nullable=False),
    Column("lock_token", String(36)),
    Column("locked_until_ms", BigInteger),
    Index("c2d_feedback_by_device", "device_id"),
    sqlite_autoincrement=True,
)


class DatabaseError(EdgehubError):
    """The registry database cannot be opened or used."""


class SchemaError(DatabaseError):
    """The database was written by a newer version, or by another program."""


def open_database(path: Path) -> Engine:
    """Opens or creates the registry database in a file.

    :raises SchemaError: its format is newer than this program.
    :raises DatabaseError: it cannot be read.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True
    )
    event.listen(engine, "connect", _configure_sqlite)
    with opening(engine, str(path)):
        prepare(engine, str(path))
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


@contextmanager
def opening(engine: Engine, name: str) -> Iterator[None]:
    """First work on a database: a failure closes the engine and is told in one line.

    :param name: of the database, for errors.
    :raises DatabaseError: what the driver raised.
    """
    try:
        yield
    except SQLAlchemyError as error:
        engine.dispose()
        raise DatabaseError(f"{name} cannot be used: {reason_of(error)}") from None
    except BaseException:
        engine.dispose()
        raise


def prepare(engine: Engine, name: str) -> None:
    """Makes what is missing of the tables; nothing at all in a database that is not for this program.

    :raises SchemaError: the tables are newer than this program, or another program's.
    """
    with engine.begin() as connection:
        found = _schema_version(connection, name)
        metadata.create_all(connection)
        if found is None:
            first = [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "revision", "value": 0}]
            connection.execute(insert(meta), first)


def _schema_version(connection: Connection, name: str) -> int | None:
    """Version of the tables that are there, None when there are none.

    :raises SchemaError: it is newer, or the tables are another program's.
    """
    inspector = inspect(connection)
    present = [table for table in metadata.tables if inspector.has_table(table)]
    found: int | None = None
    if meta.name in present:
        found = connection.scalar(select(meta.c.value).where(meta.c.name == "schema"))
    # SQLite makes each table at once: a first start that was cut short leaves some of them.
    if found is None and present and connection.dialect.name != "sqlite":
        tables = ", ".join(sorted(present))
        raise SchemaError(f"{name} has tables of another program ({tables}); give iothub one of its own")
    if found is not None and found > SCHEMA_VERSION:
        raise SchemaError(f"{name} has format {found}; this program knows up to {SCHEMA_VERSION}")
    return found


def reason_of(error: BaseException) -> str:
    """First line of what a driver says, without statement and parameters."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
