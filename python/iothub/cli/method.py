"""`iothub method`."""

from __future__ import annotations

import json
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

methods = typer.Typer(no_args_is_help=True, help="Direct methods of devices and modules.")


def read_payload(text: str | None) -> Any:
    """JSON; None for no payload.

    :raises ClientError: it is not JSON.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ClientError(f"--payload is not valid JSON: {error}; text needs quotes of its own") from None


@methods.command("invoke")
def invoke_method(  # noqa: PLR0913, PLR0917 - the options of the command
    device: Annotated[str, typer.Argument(help="Device id.")],
    name: Annotated[str, typer.Argument(help="Name of the method.")],
    module: ModuleOption = None,
    payload: Annotated[str | None, typer.Option("--payload", help="JSON; without it null is sent.")] = None,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds to wait for the answer, 5 to 300.")] = 30,
    connect_timeout: Annotated[
        int, typer.Option("--connect-timeout", help="Seconds to wait for the client to connect, 0 to 300.")
    ] = 0,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Call a method and print status and payload of the answer as JSON.

    Examples:

        iothub method invoke sensor-1 reboot --payload '{"delay": 5}'

        iothub method invoke gateway-1 ping --module '$edgeAgent' --timeout 60
    """
    body = {
        "methodName": name,
        "payload": read_payload(payload),
        "responseTimeoutInSeconds": timeout,
        "connectTimeoutInSeconds": connect_timeout,
    }
    client = connect(login, data_dir, address, ca_file)
    path = f"{identity_path('twins', device, module)}/methods"
    print_json(client.call("POST", path, body, wait_s=timeout + connect_timeout))
