"""Options that every command against a running hub takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iothub.cli.client import HubClient, resolve_login

if TYPE_CHECKING:
    from edgehub.common.json_types import Json

LoginOption = Annotated[
    str | None,
    typer.Option("--login", envvar="IOTHUB_LOGIN", help="Connection string of a shared access policy."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="IOTHUB_DATA_DIR", help="Data folder of a hub running on this machine."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="HOST:PORT to connect to, when the host name does not lead there."),
]
CaFileOption = Annotated[Path | None, typer.Option("--ca-file", help="Authority (PEM) to trust for HTTPS.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModuleOption = Annotated[str | None, typer.Option("--module", help="Module of the device.")]


def connect(login: str | None, data_dir: Path | None, address: str | None, ca_file: Path | None) -> HubClient:
    """Client for the options of a command."""
    return HubClient(resolve_login(login, data_dir, address, ca_file))


def print_json(value: Json) -> None:
    """Indented JSON on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_fields(fields: dict[str, Any]) -> None:
    """Name and value, aligned."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        typer.echo(f"{name + ':':{width + 1}} {'-' if value in (None, '', []) else value}")


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
