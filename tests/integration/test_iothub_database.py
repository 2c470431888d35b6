"""`iothub serve --database-url`: a hub in a process of its own, its registry in PostgreSQL, and no secret in
any log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from testkit.postgresql import PASSWORD

if TYPE_CHECKING:
    from testkit.postgresql import Server

SECRET = "top5ecret"
PYTHON = Path(__file__).parents[2] / "python"


def iothub(data_dir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The program, with the data folder and more of the environment."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("IOTHUB_")}
    known |= {"PYTHONPATH": f"{PYTHON}:{known.get('PYTHONPATH', '')}", "IOTHUB_DATA_DIR": str(data_dir)}
    return subprocess.Popen(
        [sys.executable, "-m", "iothub", *arguments],
        env=known | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


SERVE = ("serve", "--hostname", "localhost", "--host", "127.0.0.1", "--amqp-port", "0", "--https-port", "0")


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_database_that_cannot_be_used_ends_the_program(tmp_path: Path, by: str) -> None:
    url = f"postgresql+psycopg://me:{SECRET}@/fleet?host={tmp_path}"
    arguments = (*SERVE, "--log-level", "debug")
    if by == "option":
        process = iothub(tmp_path / "data", *arguments, "--database-url", url)
    else:
        process = iothub(tmp_path / "data", *arguments, IOTHUB_DATABASE_URL=url)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"iothub: PostgreSQL database fleet at {tmp_path} cannot be used: ")
    assert SECRET not in out + err
    assert "Traceback" not in err


def test_a_hub_keeps_its_registry_in_postgresql(tmp_path: Path, postgresql: Server) -> None:
    with postgresql.database() as url:
        strings, said = [], ""
        for start in range(2):
            hub = iothub(tmp_path, *SERVE, "--json", "--log-level", "debug", IOTHUB_DATABASE_URL=url)
            assert hub.stdout is not None
            line = hub.stdout.readline()
            assert line, hub.communicate()[1]
            strings.append(json.loads(line)["connectionStrings"])
            command = ("create", "d1", "--json") if start == 0 else ("show", "d1", "--json")
            process = iothub(tmp_path, "device", *command)
            out, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
            device = json.loads(out)
            with postgresql.closed(url):
                refused = iothub(tmp_path, "device", "show", "d1").communicate(timeout=30)[1]
            assert "503 ServiceUnavailable" in refused
            hub.send_signal(signal.SIGTERM)
            said += hub.communicate(timeout=30)[1]
            assert hub.returncode == 0
    assert strings[0] == strings[1]
    assert not (tmp_path / "hub.db").exists()
    keys = device["authentication"]["symmetricKey"].values()
    secrets = [PASSWORD, quote(PASSWORD, safe=""), *keys]
    secrets += [text.partition("SharedAccessKey=")[2] for text in strings[0].values()]
    assert said.count("the registry database does not answer") == 2
    assert [secret for secret in secrets if secret in said] == []


def test_a_registry_file_that_is_not_used_is_told(tmp_path: Path, postgresql: Server) -> None:
    (tmp_path / "hub.db").write_bytes(b"")
    with postgresql.database() as url:
        hub = iothub(tmp_path, *SERVE, "--json", IOTHUB_DATABASE_URL=url)
        assert hub.stdout is not None
        hub.stdout.readline()
        hub.send_signal(signal.SIGTERM)
        assert f"{tmp_path / 'hub.db'} is not used" in hub.communicate(timeout=30)[1]
