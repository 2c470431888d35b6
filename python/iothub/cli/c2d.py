"""`iothub c2d`."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - read by typer
from typing import Annotated

import typer

from iothub.cli.client import ClientError, identity_path
from iothub.cli.options import (
    AddressOption,
    CaFileOption,
    DataDirOption,
    JsonOption,
    LoginOption,
    connect,
    print_json,
)

messages = typer.Typer(no_args_is_help=True, help="Cloud-to-device messages and their feedback.")

DeviceArgument = Annotated[str, typer.Argument(help="Device id.")]


def read_properties(pairs: list[str]) -> dict[str, str]:
    """`NAME=VALUE` texts.

    :raises ClientError: one is something else, or cannot be sent in a header.
    """
    properties = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ClientError(f"--property must be NAME=VALUE, not {pair!r}")
        if not pair.isascii() or not pair.isprintable():
            raise ClientError(f"--property {name}: only printable ASCII can be sent")
        properties[name] = value
    return properties


def read_body(data: str | None, file: Path | None) -> bytes:
    """The message's body.

    :raises ClientError: both or neither are given, or the file cannot be read.
    """
    if (data is None) == (file is None):
        raise ClientError("give the text of the message, or --file")
    if file is None:
        return (data or "").encode()
    try:
        return file.read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {file}: {error.strerror}") from None


@messages.command("send")
def send(  # noqa: PLR0913, PLR0917 - the options of the command
    device: DeviceArgument,
    data: Annotated[str | None, typer.Argument(help="Text of the message.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Send the contents of a file.")] = None,
    prop: Annotated[list[str], typer.Option("--property", "-p", help="NAME=VALUE; as often as needed.")] = [],  # noqa: B006 - never changed
    ack: Annotated[str, typer.Option("--ack", help="Feedback: none, positive, negative or full.")] = "none",
    message_id: Annotated[str | None, typer.Option("--message-id", help="Named in feedback.")] = None,
    correlation_id: Annotated[str | None, typer.Option("--correlation-id")] = None,
    content_type: Annotated[str | None, typer.Option("--content-type", help="application/json")] = None,
    content_encoding: Annotated[str | None, typer.Option("--content-encoding", help="utf-8")] = None,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", min=1, help="Seconds until it ends; an hour by default.")
    ] = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Send a message to a device. It waits in the hub until the device takes it, or its time is over.

    Examples:

        iothub c2d send sensor-1 'wake up' --property level=high --ack full --message-id m-17

        iothub c2d send sensor-1 --file settings.json --content-type application/json --expires-in 600
    """
    headers = {
        "iothub-ack": ack,
        "iothub-messageid": message_id,
        "iothub-correlationid": correlation_id,
        "iothub-contenttype": content_type,
        "iothub-contentencoding": content_encoding,
        "iothub-expiry": None if expires_in is None else str(int((time.time() + expires_in) * 1000)),
        **{f"iothub-app-{name}": value for name, value in read_properties(prop).items()},
    }
    given = {name: value for name, value in headers.items() if value is not None}
    client = connect(login, data_dir, address, ca_file)
    client.post_bytes(
        f"{identity_path('devices', device)}/messages/deviceBound", read_body(data, file), given
    )


@messages.command("purge")
def purge(
    device: DeviceArgument,
    as_json: JsonOption = False,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Drop all messages that wait for a device, and say how many there were.

    Example:

        iothub c2d purge sensor-1
    """
    client = connect(login, data_dir, address, ca_file)
    answer = client.call("DELETE", f"{identity_path('devices', device)}/commands")
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['totalMessagesPurged']} messages dropped")


@messages.command("feedback")
def feedback(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what is shown in the hub, for another reader.")
    ] = False,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Print the feedback that is due as JSON, and take it out of the hub. It is due 15 s after its message
    ended.

    Example:

        iothub c2d feedback
    """
    client = connect(login, data_dir, address, ca_file)
    records: list[object] = []
    batches = []
    while (batch := client.take_locked("/messages/serviceBound/feedback")) is not None:
        records += batch.value
        batches.append(batch.lock_token)
    print_json(records)
    for token in batches:
        path = f"/messages/serviceBound/feedback/{token}"
        if keep:
            client.call("POST", f"{path}/abandon")
        else:
            client.call("DELETE", path)
