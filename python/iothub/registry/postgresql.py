"""The registry in PostgreSQL, chosen by URL: what the URL may be, the session, and one hub at a time.

A hub keeps credentials in memory and tells changes to its own connections alone, so two hubs must not work
on one database. The hub's only connection holds an advisory lock: whoever talks to the database has it, also
after the connection was lost and made anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from iothub.registry.schema import DatabaseError, opening, prepare

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

LOCK_WAIT_MS: Final = 5000
"""How long a starting hub waits for another one to end."""
STATEMENT_MAX_MS: Final = 30_000
"""A statement that takes longer is given up."""
_LOCK_KEY: Final = 0x696F_7468_7562
_LOCK_NOT_AVAILABLE: Final = "55P03"
_SCHEMES: Final = ("postgresql+psycopg", "postgresql", "postgres")
_FORM: Final = "postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE"
_INSTALL: Final = "pip install 'edgehub[postgresql]'"
# A server that goes away without a word must not hold the hub for the minutes that TCP allows.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "iothub",
    "client_encoding": "utf8",
}
# The server ends the session of a hub that went away, and its lock, within half a minute.
_SESSION: Final = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")


def parse_url(text: str) -> URL:
    """Reads the URL of a database.

    :raises DatabaseError: it is not one of PostgreSQL. The URL itself, which may have a password in it, is
        not part of the error.
    """
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise DatabaseError(f"the database URL cannot be read; it must look like {_FORM}") from None
    if url.drivername not in _SCHEMES:
        raise DatabaseError(
            f"the database URL must look like {_FORM}; without one the registry is an SQLite file in the data"
            " folder"
        )
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise DatabaseError(
            "the database URL has more than one @: within user name and password write @ as %40, / as %2F,"
            " : as %3A and % as %25"
        )
    return url.set(drivername=_SCHEMES[0])


def name_of(url: URL) -> str:
    """The database for errors and logs: which and where, without user and password."""
    host = url.host or url.query.get("host") or "the default host"
    place = host if isinstance(host, str) else ", ".join(host)
    port = f":{url.port}" if url.port else ""
    return f"PostgreSQL database {url.database or 'of the default name'} at {place}{port}"


def open_postgresql(text: str, *, lock_wait_ms: int = LOCK_WAIT_MS) -> Engine:
    """Opens the registry database and makes what is missing of its tables.

    :param text: URL, such as `postgresql+psycopg://iothub@db.local/iothub`; parameters of libpq (`sslmode`,
        `sslrootcert`, `passfile`, ...) may follow as its query.
    :param lock_wait_ms: how long to wait while another hub has the database.
    :raises SchemaError: the tables are newer than this program, or another program's.
    :raises DatabaseError: the URL or the driver is no good, the server does not answer or refuses, or another
        hub works on the database.
    """
    url = parse_url(text)
    name = name_of(url)
    engine = _engine(url, name, lock_wait_ms)
    try:
        with opening(engine, name):
            _require_utf8(engine, name)
            prepare(engine, name)
    except DatabaseError as error:
        # The words are the driver's and the server's: a password that they repeat must not go on.
        raise type(error)(_without_secrets(str(error), url)) from None
    return engine


def _engine(url: URL, name: str, lock_wait_ms: int) -> Engine:
    defaults = {key: value for key, value in _DEFAULTS.items() if key not in url.query}
    try:
        engine = create_engine(
            url.update_query_dict(defaults),
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            use_native_hstore=False,
        )
    except ImportError as error:
        why = "which is not installed" if error.name == "psycopg" else f"which cannot be loaded ({error})"
        raise DatabaseError(f"PostgreSQL needs the driver psycopg, {why}; run: {_INSTALL}") from None

    def connected(connection: DBAPIConnection, _record: object) -> None:
        try:
            _prepare_session(connection, lock_wait_ms)
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise DatabaseError(f"{name} is in use by another iothub; stop that one first") from None
            raise

    event.listen(engine, "connect", connected)
    return engine


def _prepare_session(connection: DBAPIConnection, lock_wait_ms: int) -> None:
    """Settings, and the lock for as long as the session lives."""
    cursor = connection.cursor()
    for setting in (*_SESSION, f"lock_timeout = {lock_wait_ms}"):
        cursor.execute(f"SET {setting}")
    cursor.execute(f"SELECT pg_advisory_lock({_LOCK_KEY})")
    cursor.execute(f"SET statement_timeout = {STATEMENT_MAX_MS}")
    cursor.close()
    connection.commit()


def _require_utf8(engine: Engine, name: str) -> None:
    """Twins hold any text, so the database must.

    :raises DatabaseError: it has another encoding.
    """
    with engine.connect() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise DatabaseError(f"{name} has the encoding {encoding}; make it with ENCODING 'UTF8'")


def _without_secrets(text: str, url: URL) -> str:
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text
