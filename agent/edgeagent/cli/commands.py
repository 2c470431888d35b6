"""The sub-commands of `edgeagent`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_HELP = """\
Turns a deployment manifest into running containers, and keeps them so.

Examples:

\b
  # Modules from a file, no cloud at all:
  edgeagent run --manifest deployment.json --home ./edge
\b
  # Modules as the hub wants them (the twin of $edgeAgent):
  IotHubConnectionString='HostName=...;DeviceId=...;SharedAccessKey=...' edgeagent run
\b
  # What is wrong or odd in a deployment, before it is used:
  edgeagent check deployment.json
"""

_CHECK = """\
Check deployments: what is wrong, where, and with which status the agent would report it; then what is odd.

FILE is a whole deployment (`modulesContent`), or the desired properties of $edgeAgent; `-` is standard input.

Exit code 0: all can be used, 1: one cannot, or cannot be read, 2: wrong usage.

Examples:

\b
  edgeagent check deployment.json
  edgeagent check site/*.json --json
  edgeagent check deployment.json --parent gateway-1.example.net
"""

_RUN = """\
Run the agent until SIGTERM. Modules end with it and come back with it, unless StopModulesOnShutdown=false.

With IotHubConnectionString, of the device, identities of modules are kept in the hub, and without --manifest
the deployment is the twin of $edgeAgent. Without it nothing but --manifest is needed.

Exit code 0: a clean end, 1: a setting that cannot work, 2: wrong usage.

Examples:

\b
  edgeagent run --manifest deployment.json --home ./edge
  IotHubConnectionString='HostName=...;DeviceId=...;SharedAccessKey=...' edgeagent run
  edgeagent run --engine unix:///run/user/1000/docker.sock --manifest deployment.json --home ~/.edge
"""

HomeOption = Annotated[
    Path, typer.Option(envvar="EDGEAGENT_HOME", help="Folder of keys, sockets and state.", show_default=True)
]
EngineOption = Annotated[
    str, typer.Option(envvar="EDGEAGENT_ENGINE", help="Docker engine, unix:///... or tcp://host:port.")
]
ManifestOption = Annotated[
    Path | None, typer.Option(help="File with the deployment; it is followed as it changes.")
]
TrustOption = Annotated[
    Path | None, typer.Option(help="PEM file of roots that are trusted, by the agent and by modules.")
]
CaOption = Annotated[Path | None, typer.Option(help="PEM file of your own device CA; default: one is made.")]
CaKeyOption = Annotated[Path | None, typer.Option(help="PEM file of its private key.")]

FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Deployments as JSON.")]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=_HELP, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from edgeagent import __version__

        typer.echo(f"edgeagent {__version__}")
        raise typer.Exit


@app.command(help=_CHECK)
def check(
    files: FilesArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object for each file.")] = False,
    parent: Annotated[
        str, typer.Option(help="Host name that $upstream stands for, on devices below another gateway.")
    ] = "",
) -> None:
    """Checks deployments."""
    from edgeagent.cli.check import as_lines, check_file

    verdicts = [check_file(file, parent or None) for file in files]
    for verdict in verdicts:
        for line in [verdict.as_json()] if as_json else as_lines(verdict):
            typer.echo(line)
    raise typer.Exit(0 if all(verdict.code == 200 for verdict in verdicts) else 1)


@app.command(help=_RUN)
def run(
    manifest: ManifestOption = None,
    home: HomeOption = Path("/var/lib/aziot/edged"),
    engine: EngineOption = "unix:///var/run/docker.sock",
    trust_bundle: TrustOption = None,
    ca_certificate: CaOption = None,
    ca_key: CaKeyOption = None,
    mqtt_port: Annotated[int, typer.Option(help="MQTT port of the hub.", min=1, max=65535)] = 8883,
    https_port: Annotated[int, typer.Option(help="HTTPS port of the hub.", min=1, max=65535)] = 443,
) -> None:
    """Runs the agent."""
    from edgeagent.app.start import Given, start

    given = Given(home, engine, manifest, trust_bundle, ca_certificate, ca_key, mqtt_port, https_port)
    raise typer.Exit(start(given))


def run_command(arguments: list[str]) -> int:
    """Runs a sub-command; returns the exit code."""
    try:
        app(args=arguments, prog_name="edgeagent")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0
