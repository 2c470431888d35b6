"""`iothub monitor`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from iothub.cli.options import AddressOption, CaFileOption, DataDirOption, JsonOption, LoginOption, connect


def event_line(event: dict[str, Any]) -> str:
    """One event for people."""
    sender = event["deviceId"] + (f"/{event['moduleId']}" if "moduleId" in event else "")
    body = event["body"] if isinstance(event["body"], str) else json.dumps(event["body"], ensure_ascii=False)
    properties = " ".join(f"{name}={value}" for name, value in event["properties"].items())
    return f"{event['sequenceNumber']} {event['enqueuedTime']} {sender}: {body}" + (
        f"  [{properties}]" if properties else ""
    )


def monitor(  # noqa: PLR0913, PLR0917 - the options of the command
    device: Annotated[str | None, typer.Option("--device", help="Only events of this device.")] = None,
    start: Annotated[
        str, typer.Option("--from", help="'latest', 'earliest' or a sequence number.", show_default=True)
    ] = "latest",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after this many events.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Stop after this many seconds.")
    ] = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow telemetry as it arrives.

    Exit code 1 when --timeout passed before --count events came.

    Examples:

        iothub monitor --data-dir /var/lib/iothub

        iothub monitor --device sensor-1 --from earliest --count 10 --timeout 30 --json
    """
    query = (
        {"from": start} | ({"device": device} if device else {}) | ({"count": str(count)} if count else {})
    )
    client = connect(login, data_dir, address, ca_file)
    seen = 0
    for line in client.stream(f"/telemetry?{urlencode(query)}", timeout):
        if line is None:
            break
        seen += 1
        sys.stdout.write(line if as_json else event_line(json.loads(line)) + "\n")
        sys.stdout.flush()
    if count is not None and seen < count:
        raise typer.Exit(1)
