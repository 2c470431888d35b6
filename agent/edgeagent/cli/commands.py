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


@app.command(add_help_option=False)
def run() -> None:
    """Run the agent; `edgeagent run --help` tells more."""
    raise AssertionError("it is run without any of this: see edgeagent.cli.main")


@app.command(add_help_option=False)
def workload() -> None:
    """Serve the workload API to modules; the agent does that by itself."""
    raise AssertionError("as above")


def run_command(arguments: list[str]) -> int:
    """Runs a sub-command; returns the exit code."""
    try:
        app(args=arguments, prog_name="edgeagent")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0
