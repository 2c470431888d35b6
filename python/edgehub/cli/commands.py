"""Everything but running the hub: help and the sub-commands. Imports typer, which a running hub does not."""

from __future__ import annotations

from typing import Annotated

import typer

from edgehub.cli.route import route_app
from edgehub.cli.store import store_app

_HELP = """\
Open, self-hosted message hub for IoT Edge devices.

Without arguments, runs the hub. Settings come from environment variables, all of them listed in
docs/configuration.md; a setting that cannot work ends with exit code 1 and one line that says what would
be right.

Examples:

\b
  # Under an agent the environment is complete:
  edgehub
\b
  # Connected to a hub, without agent:
  IotHubConnectionString='HostName=...;DeviceId=...;ModuleId=$edgeHub;SharedAccessKey=...' \\
  EdgeHubDevServerCertificateFile=server.pem EdgeHubDevServerPrivateKeyFile=server.key edgehub
\b
  # On its own, routes and clients from files:
  IOTEDGE_DEVICEID=edge1 EDGEDEVICEHOSTNAME=gateway.local RoutesFile=routes.json \\
  IdentitiesFile=identities.json EdgeHubDevServerCertificateFile=server.pem \\
  EdgeHubDevServerPrivateKeyFile=server.key edgehub
\b
  # Check routes before they are deployed, and try them on messages:
  edgehub route check deployment.json
  edgehub route explain deployment.json --message message.json
  edgehub route match deployment.json --messages messages.jsonl
\b
  # Look into the message store, also while the hub runs:
  edgehub store ls
  edgehub store peek iothub
\b
  # Watch a whole system at work on this machine:
  edgehub demo
"""

app = typer.Typer(add_completion=False, no_args_is_help=True, help=_HELP, rich_markup_mode=None)
app.add_typer(route_app, name="route")
app.add_typer(store_app, name="store")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from edgehub import __version__

        typer.echo(f"edgehub {__version__}")
        raise typer.Exit


def run_command(arguments: list[str]) -> int:
    """Runs a sub-command; returns the exit code."""
    try:
        app(args=arguments, prog_name="edgehub")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0
