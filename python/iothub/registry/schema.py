"""Tables of the registry database, in portable SQL (SQLite here, PostgreSQL for fleets).

Keys are stored readable: the hub must compute signatures with them. The file is created with mode 0600.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
    select,
)

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

SCHEMA_VERSION: Final = 1
metadata = MetaData()


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
    Column("device_id", String(128), primary_key=True),
    *_identity_columns(),
    Column("status", String(16), nullable=False),
    Column("status_reason", String(128)),
    Column("status_updated_ms", BigInteger),
    Column("iot_edge", Boolean, nullable=False),
    Column("device_scope", String(256)),
    Column("parent_scope", String(256)),
    Index("devices_by_parent", "parent_scope"),
    Index("devices_by_scope", "device_scope"),
)

modules = Table(
    "modules",
    metadata,
    Column("device_id", String(128), primary_key=True),
    Column("module_id", String(128), primary_key=True),
    *_identity_columns(),
    Column("managed_by", String(128)),
)

twins = Table(
    "twins",
    metadata,
    Column("device_id", String(128), primary_key=True),
    Column("module_id", String(128), primary_key=True, comment="empty for the device's own twin"),
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
    Column("device_id", String(128), nullable=False),
    Column("message_id", String(1024)),
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
    Column("device_id", String(128), nullable=False),
    Column("generation_id", String(32), nullable=False),
    Column("message_id", String(1024), nullable=False),
    Column("status", String(32), nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("deliveries", BigInteger, nullable=False),
    Column("lock_token", String(36)),
    Column("locked_until_ms", BigInteger),
    Index("c2d_feedback_by_device", "device_id"),
    sqlite_autoincrement=True,
)


class SchemaError(EdgehubError):
    """The database was written by a newer version."""


def open_database(path: Path) -> Engine:
    """Opens or creates the registry database.

    :raises SchemaError: its format is newer than this program.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    metadata.create_all(engine)
    with engine.begin() as connection:
        found = connection.scalar(select(meta.c.value).where(meta.c.name == "schema"))
        if found is None:
            connection.execute(
                insert(meta), [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "revision", "value": 0}]
            )
        elif found > SCHEMA_VERSION:
            raise SchemaError(f"{path} has format {found}; this program knows up to {SCHEMA_VERSION}")
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
