"""A PostgreSQL server for tests: in a temporary folder, on a Unix socket alone, without syncing.

```python
with running_server() as server, server.database() as url:
    ...
```
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL: Final = "PostgreSQL is missing, which these tests need; run: apt-get install postgresql"
USER: Final = "tester"
PASSWORD: Final = "p@ss/w:rd%1"
"""With everything that a URL must have encoded."""
START_S: Final = 40
_ICU_SINCE: Final = "15"
# As small and quick as it can be: nothing of it outlives the tests.
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "autovacuum": "off",
}


def find_programs() -> Path:
    """Folder of the server's programs, the newest that are installed; Debian has it outside of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    elsewhere = shutil.which("pg_ctl")
    if found:
        return found[-1].parent
    if elsewhere is None:
        pytest.fail(INSTALL)
    return Path(elsewhere).resolve().parent


def _server_user() -> dict[str, Any]:
    """Root may not run the server: somebody else does then, as arguments of `subprocess.run`."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.fail("this machine has neither the user postgres nor nobody, and root may not run PostgreSQL")


class Server:
    """A running server.

    :ivar folder: holds its data and its socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = find_programs()
        self._user = _server_user()
        self._names = itertools.count(1)
        self._free: list[str] = []
        self._data = folder / "data"

    def start(self) -> None:
        """Makes the data folder and waits until connections are taken."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        for path in (self.folder, secret):
            if self._user:
                os.chown(path, self._user["user"], self._user["group"])
        self._run(
            "initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256",
            f"--username={USER}", f"--pwfile={secret}",
        )  # fmt: skip
        options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        options += f" -c unix_socket_directories='{self.folder}'"
        log = self.folder / "log"
        self._run("pg_ctl", "start", "--wait", f"--timeout={START_S}", f"--log={log}", f"--options={options}")

    def stop(self) -> None:
        """Ends it, whoever is connected."""
        self._run("pg_ctl", "stop", "--mode=immediate", "--wait")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments, f"--pgdata={self._data}"]
        # pg_ctl's server would keep pipes open for ever.
        with (self.folder / f"{program}.out").open("w+") as out:
            done = subprocess.run(command, cwd=self.folder, stdout=out, stderr=out, check=False, **self._user)
            out.seek(0)
            assert done.returncode == 0, f"{program}: {out.read()}"

    def url(self, database: str, password: str = PASSWORD) -> str:
        """URL of a database."""
        query = {"host": str(self.folder)}
        url = URL.create("postgresql+psycopg", USER, password, database=database, query=query)
        return url.render_as_string(hide_password=False)

    @contextlib.contextmanager
    def database(self, **options: str) -> Iterator[str]:
        """URL of an empty database, which sorts text as people do, not by bytes.

        :param options: of CREATE DATABASE, such as `encoding`, in place of that.
        """
        name = self._free.pop() if self._free and not options else self._create(options)
        try:
            yield self.url(name)
        finally:
            if options:
                self.command(f"DROP DATABASE {name} WITH (FORCE)")
            else:
                # This takes a tenth of the time that making one takes.
                self.cut(self.url(name))
                self.command("DROP SCHEMA public CASCADE", name)
                self.command("CREATE SCHEMA public", name)
                self._free.append(name)

    def _create(self, options: dict[str, str]) -> str:
        name = f"test{next(self._names)}"
        words = " ".join(f"{key} '{value}'" for key, value in options.items())
        self.command(f"CREATE DATABASE {name} TEMPLATE template0 {words or self._human_order()}")
        return name

    def _human_order(self) -> str:
        major = self._programs.parts[-2]
        return "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if major >= _ICU_SINCE else ""

    def command(self, sql: str, database: str = "postgres") -> list[Any]:
        """Runs a statement beside the tests; rows, if it gives any."""
        engine = create_engine(self.url(database), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.exec_driver_sql(sql)
            return list(result) if result.returns_rows else []

    def cut(self, url: str) -> None:
        """Ends the sessions of a database, as a restart of the server would."""
        name = make_url(url).database
        self.command(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @contextlib.contextmanager
    def closed(self, url: str) -> Iterator[None]:
        """A database that takes no connections and has none any more."""
        change = f"ALTER DATABASE {make_url(url).database} ALLOW_CONNECTIONS"
        self.command(f"{change} false")
        self.cut(url)
        try:
            yield
        finally:
            self.command(f"{change} true")


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A server of its own."""
    # Not pytest's folder: that is closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="edgehub-postgresql-"))
    try:
        server = Server(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
