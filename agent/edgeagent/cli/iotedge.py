"""The command `iotedge`: the modules of this device, and what is wrong with it (agent spec 8)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edgeagent import __version__
from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edgeagent.management.client import ManagementClient

T = TypeVar("T")
INTERRUPTED = 130

_HELP = """\
Shows and restarts the modules of this device, and finds out what is wrong with it.

Examples:

\b
  iotedge list
  iotedge logs sensor --tail 100 -f
  sudo iotedge check
"""
_LIST = """\
List modules.

Examples:

\b
  iotedge list
  iotedge list --json | jq -r '.[].name'
"""
_LOGS = """\
Fetch the log of a module, both of its outputs.

Times are durations back from now (90m, 1 day), moments (2026-01-02T03:04:05Z) or seconds since 1970.

Examples:

\b
  iotedge logs sensor
  iotedge logs sensor --tail 100 -f
  iotedge logs edgeHub --since 2h --until 1h
"""
_RESTART = """\
Restart a module. Edge agent restarts itself.

Example:

\b
  iotedge restart sensor
"""
_BUNDLE = """\
Bundle what helps somebody to find out what is wrong: outcome of the checks, logs, containers and networks.

Values that look like secrets are hidden; what modules write to their logs under no name is as they wrote it.
When the agent does not answer, the bundle is made without it.

Examples:

\b
  sudo iotedge support-bundle
  sudo iotedge support-bundle --since 6h -o site-12.zip
  sudo iotedge support-bundle -e -o - | ssh help.example.net 'cat > bundle.zip'
"""

app = typer.Typer(add_completion=False, no_args_is_help=True, help=_HELP, rich_markup_mode=None)


class Asked:
    """Options of the command as a whole.

    :ivar host: address of the agent.
    """

    def __init__(self, host: str) -> None:
        self.host = host

    def client(self) -> ManagementClient:
        from edgeagent.management.client import DEFAULT_ADDRESS, ManagementClient

        return ManagementClient(self.host or DEFAULT_ADDRESS)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="From this time on.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="Up to this time.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            "-H", "--host", envvar="IOTEDGE_HOST", metavar="URI",
            help="Where the agent listens  [default: unix:///var/run/iotedge/mgmt.sock]",
        ),
    ] = "",
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:  # fmt: skip
    if version:
        typer.echo(f"iotedge {__version__}")
        raise typer.Exit
    context.obj = Asked(host)


@app.command("list", help=_LIST)
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Lists modules."""
    from edgeagent.cli.iotedge_modules import list_modules

    _run(list_modules(_client(context), as_json=as_json, is_terminal=sys.stdout.isatty()))


@app.command(help=_LOGS)
def logs(
    context: typer.Context,
    module: Annotated[str, typer.Argument(metavar="MODULE")],
    tail: Annotated[str, typer.Option(metavar="N|all", help="So many lines from the end.")] = "all",
    since: Since = "1 day",
    until: Until = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
) -> None:
    """Fetches a log."""
    from edgeagent.cli.iotedge_modules import log_query, print_logs

    query = log_query(tail, since, until, follow=follow, now_s=time.time())
    _run(print_logs(_client(context), module, query, sys.stdout.buffer))


@app.command(help=_RESTART)
def restart(context: typer.Context, module: Annotated[str, typer.Argument(metavar="MODULE")]) -> None:
    """Restarts a module."""
    from edgeagent.cli.iotedge_modules import restart_module

    _run(restart_module(_client(context), module))


@app.command()
def version(as_json: AsJson = False) -> None:
    """Show the version of this command."""
    typer.echo(json.dumps({"version": __version__}) if as_json else f"iotedge {__version__}")


@app.command("support-bundle", help=_BUNDLE)
def support_bundle(
    context: typer.Context,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write it; - for standard output.")
    ] = "",
    since: Since = "1 day",
    until: Until = "",
    runtime_only: Annotated[
        bool, typer.Option("-e", "--include-edge-runtime-only", help="Of edgeAgent and edgeHub alone.")
    ] = False,
    hub_hostname: Annotated[
        str, typer.Option("--iothub-hostname", metavar="HOST", help="Check the connection to this hub.")
    ] = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing.")] = False,
) -> None:
    """Makes a support bundle."""
    from datetime import UTC, datetime

    from edgeagent.checks.situation import CheckOptions
    from edgeagent.cli.iotedge_modules import STANDARD_OUTPUT, bundle_name, log_query, save_bundle

    query = log_query("all", since, until, follow=False, now_s=time.time())
    wanted = {name: value for name, value in query.items() if name in ("since", "until")}
    wanted["edge_runtime_only"] = str(runtime_only).lower()
    if hub_hostname:
        wanted["iothub_hostname"] = hub_hostname
    target = output or bundle_name(datetime.now(UTC))

    def say(text: str) -> None:
        if not quiet:
            typer.echo(text, err=target == STANDARD_OUTPUT)

    options = CheckOptions(management=_asked(context).host)
    _run(save_bundle(_client(context), wanted, target, options, say))


def _asked(context: typer.Context) -> Asked:
    asked = context.obj
    assert isinstance(asked, Asked)
    return asked


def _client(context: typer.Context) -> ManagementClient:
    return _asked(context).client()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """A log that is followed ends with Ctrl-C, about which there is nothing to say."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 for an error, 2 for wrong usage."""
    from edgeagent.cli import iotedge_check, iotedge_groups

    iotedge_check.add_to(app)
    iotedge_groups.add_to(app)
    try:
        app(args=sys.argv[1:] if arguments is None else arguments, prog_name="iotedge")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except AgentError as fault:
        print_error(fault)
        return 1
    except BrokenPipeError:
        # Whoever read on has gone, such as `head`; Python would complain when it writes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def print_error(fault: AgentError) -> None:
    """The error, then what caused it, then a blank line (agent spec 8)."""
    print(str(fault), file=sys.stderr)
    for cause in getattr(fault, "causes", ()):
        print(f"\tcaused by: {cause}", file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
