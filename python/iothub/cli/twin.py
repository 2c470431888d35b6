"""`iothub twin`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from iothub.cli.client import ClientError, identity_path
from iothub.cli.options import (
    AddressOption,
    CaFileOption,
    DataDirOption,
    LoginOption,
    ModuleOption,
    connect,
    print_json,
)

twins = typer.Typer(no_args_is_help=True, help="Twins of devices and modules.")

DeviceArgument = Annotated[str, typer.Argument(help="Device id.")]


def read_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object given as text or as `@file`.

    :raises ClientError: what is wrong and where.
    """
    source = text
    if text.startswith("@"):
        try:
            source = Path(text[1:]).read_text("utf-8")
        except OSError as error:
            raise ClientError(f"{option}: cannot read {text[1:]}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ClientError(f"{option}: {text[1:]} is not UTF-8: {error.reason}") from None
    try:
        value = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{option} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ClientError(f"{option} must be a JSON object such as '{{\"interval\": 5}}'")
    return value


@twins.command("show")
def show_twin(
    device: DeviceArgument,
    module: ModuleOption = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Print a twin as JSON.

    Example: iothub twin show gateway-1 --module '$edgeHub'
    """
    client = connect(login, data_dir, address, ca_file)
    print_json(client.call("GET", identity_path("twins", device, module)))


@twins.command("update")
def update_twin(  # noqa: PLR0913, PLR0917 - the options of the command
    device: DeviceArgument,
    module: ModuleOption = None,
    desired: Annotated[
        str | None,
        typer.Option("--desired", help="Desired properties: JSON or @file. null removes a member."),
    ] = None,
    tags: Annotated[str | None, typer.Option("--tags", help="Tags: JSON or @file.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what is given whole, do not merge.")
    ] = False,
    etag: Annotated[str | None, typer.Option("--etag", help="Only if the twin still has this etag.")] = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Change desired properties or tags.

    Examples:

        iothub twin update sensor-1 --desired '{"interval": 5}'

        iothub twin update gateway-1 --module '$edgeHub' --desired @routes.json --replace
    """
    body: dict[str, Any] = {}
    if desired is not None:
        body["properties"] = {"desired": read_object(desired, "--desired")}
    if tags is not None:
        body["tags"] = read_object(tags, "--tags")
    if not body:
        raise ClientError("give --desired, --tags or both")
    client = connect(login, data_dir, address, ca_file)
    method = "PUT" if replace else "PATCH"
    if_match = None if etag is None else f'"{etag}"'
    print_json(client.call(method, identity_path("twins", device, module), body, if_match))
