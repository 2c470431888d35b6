"""`iothub device` and `iothub module`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - read by typer
from typing import Annotated, Any

import typer

from iothub.cli.client import ClientError, HubClient, device_connection_string, identity_path
from iothub.cli.options import (
    AddressOption,
    CaFileOption,
    DataDirOption,
    JsonOption,
    LoginOption,
    connect,
    print_fields,
    print_json,
    print_table,
)
from iothub.cli.x509 import x509_authentication

devices = typer.Typer(no_args_is_help=True, help="Devices of the hub.")
modules = typer.Typer(no_args_is_help=True, help="Modules of a device.")

DeviceArgument = Annotated[str, typer.Argument(help="Device id.")]
ModuleArgument = Annotated[str, typer.Argument(help="Module id.")]
GatewayOption = Annotated[
    str | None, typer.Option("--gateway", help="Host name of the edge hub to connect through.")
]
SYSTEM_MODULES = ("$edgeAgent", "$edgeHub")


def _show(client: HubClient, identity: dict[str, Any], as_json: bool, gateway: str | None = None) -> None:
    if as_json:
        print_json(identity)
        return
    fields = {
        "Device": identity["deviceId"],
        "Module": identity.get("moduleId"),
        "Status": identity.get("status"),
        "Edge": (identity.get("capabilities") or {}).get("iotEdge"),
        "Parent": ", ".join(identity.get("parentScopes") or []),
        "Connection": identity["connectionState"],
        "Authentication": identity["authentication"]["type"],
        "Generation": identity["generationId"],
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    prints = identity["authentication"]["x509Thumbprint"]
    if any(prints.values()):
        fields["Thumbprints"] = ", ".join(value for value in prints.values() if value)
    if identity["authentication"]["type"] == "sas":
        fields["Connection string"] = device_connection_string(client.hostname, identity, gateway)
    print_fields(fields)


@devices.command("create")
def create_device(  # noqa: PLR0913, PLR0917 - the options of the command
    device: DeviceArgument,
    edge: Annotated[bool, typer.Option("--edge", help="An edge device, with its system modules.")] = False,
    parent: Annotated[str | None, typer.Option("--parent", help="Edge device above this one.")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Registered, but may not connect.")] = False,
    thumbprint: Annotated[
        list[str] | None,
        typer.Option(
            "--thumbprint", help="SHA-1 or SHA-256 of its certificate, in place of keys; at most two."
        ),
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option("--certificate", help="PEM file with its certificate, for a thumbprint of that."),
    ] = None,
    x509_ca: Annotated[
        bool, typer.Option("--x509-ca", help="A certificate of an authority (serve --client-ca) proves it.")
    ] = False,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a device with fresh keys, or for a certificate.

    Examples:

        iothub device create sensor-1 --data-dir /var/lib/iothub

        iothub device create gateway-1 --edge --data-dir /var/lib/iothub

        iothub device create sensor-2 --parent gateway-1 --data-dir /var/lib/iothub

        iothub device create sensor-3 --certificate sensor-3.pem --data-dir /var/lib/iothub
    """
    authentication = x509_authentication(thumbprint or (), certificate or (), x509_ca)
    client = connect(login, data_dir, address, ca_file)
    document: dict[str, Any] = {
        "deviceId": device,
        "status": "disabled" if disabled else "enabled",
        "capabilities": {"iotEdge": edge},
    }
    if authentication is not None:
        document["authentication"] = authentication
    if parent is not None:
        above = client.call("GET", identity_path("devices", parent))
        if not above["capabilities"]["iotEdge"]:
            raise ClientError(f"{parent} is not an edge device, so it cannot be a parent")
        scope = above["deviceScope"]
        document |= {"parentScopes": [scope]} if edge else {"deviceScope": scope}
    created = client.call("PUT", identity_path("devices", device), document)
    if edge:
        created["systemModules"] = [_give_keys(client, device, name) for name in SYSTEM_MODULES]
    _show(client, created, as_json)
    if edge and not as_json:
        for module in created["systemModules"]:
            typer.echo(f"{module['moduleId']}: {device_connection_string(client.hostname, module)}")


def _give_keys(client: HubClient, device: str, module: str) -> dict[str, Any]:
    """System modules begin without credentials; for a run without identity service they need keys."""
    document = {
        "deviceId": device,
        "moduleId": module,
        "managedBy": "IotEdge",
        "authentication": {"type": "sas"},
    }
    updated: dict[str, Any] = client.call("PUT", identity_path("devices", device, module), document, "*")
    return updated


@devices.command("show")
def show_device(
    device: DeviceArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one device.

    Example: iothub device show sensor-1 --json
    """
    client = connect(login, data_dir, address, ca_file)
    _show(client, client.call("GET", identity_path("devices", device)), as_json)


@devices.command("list")
def list_devices(
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="At most this many.")] = 1000,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List devices.

    Example: iothub device list --top 20
    """
    found = connect(login, data_dir, address, ca_file).call("GET", f"/devices?top={top}")
    if as_json:
        print_json(found)
        return
    rows = [
        [
            item["deviceId"],
            item["status"],
            "edge" if item["capabilities"]["iotEdge"] else "",
            item["connectionState"],
            ", ".join(item["parentScopes"]),
        ]
        for item in found
    ]
    print_table(["device", "status", "kind", "connection", "parent"], rows)


@devices.command("delete")
def delete_device(
    device: DeviceArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Remove a device, its modules and its twins.

    Example: iothub device delete sensor-1
    """
    connect(login, data_dir, address, ca_file).call("DELETE", identity_path("devices", device), if_match="*")
    typer.echo(f"deleted {device}")


@devices.command("connection-string")
def device_string(
    device: DeviceArgument,
    gateway: GatewayOption = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a device connects with.

    Example: iothub device connection-string sensor-2 --gateway gateway-1.local
    """
    client = connect(login, data_dir, address, ca_file)
    identity = client.call("GET", identity_path("devices", device))
    _print_string(device_connection_string(client.hostname, identity, gateway), as_json)


def _print_string(text: str, as_json: bool) -> None:
    if as_json:
        print_json({"connectionString": text})
    else:
        typer.echo(text)


@modules.command("create")
def create_module(
    device: DeviceArgument,
    module: ModuleArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a module with fresh keys.

    Example: iothub module create gateway-1 filter
    """
    client = connect(login, data_dir, address, ca_file)
    document = {"deviceId": device, "moduleId": module}
    _show(client, client.call("PUT", identity_path("devices", device, module), document), as_json)


@modules.command("show")
def show_module(
    device: DeviceArgument,
    module: ModuleArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one module.

    Example: iothub module show gateway-1 '$edgeHub'
    """
    client = connect(login, data_dir, address, ca_file)
    _show(client, client.call("GET", identity_path("devices", device, module)), as_json)


@modules.command("list")
def list_modules(
    device: DeviceArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the modules of a device.

    Example: iothub module list gateway-1
    """
    client = connect(login, data_dir, address, ca_file)
    found = client.call("GET", identity_path("devices", device) + "/modules")
    if as_json:
        print_json(found)
        return
    rows = [
        [item["moduleId"], item["managedBy"] or "", item["authentication"]["type"], item["connectionState"]]
        for item in found
    ]
    print_table(["module", "managed by", "authentication", "connection"], rows)


@modules.command("delete")
def delete_module(
    device: DeviceArgument,
    module: ModuleArgument,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Remove a module and its twin.

    Example: iothub module delete gateway-1 filter
    """
    client = connect(login, data_dir, address, ca_file)
    client.call("DELETE", identity_path("devices", device, module), if_match="*")
    typer.echo(f"deleted {device}/{module}")


@modules.command("connection-string")
def module_string(
    device: DeviceArgument,
    module: ModuleArgument,
    gateway: GatewayOption = None,
    login: LoginOption = None,
    data_dir: DataDirOption = None,
    address: AddressOption = None,
    ca_file: CaFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a module connects with.

    Example: iothub module connection-string gateway-1 '$edgeHub'
    """
    client = connect(login, data_dir, address, ca_file)
    identity = client.call("GET", identity_path("devices", device, module))
    _print_string(device_connection_string(client.hostname, identity, gateway), as_json)
