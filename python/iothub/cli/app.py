"""The `iothub` program: commands, and one line for what went wrong."""

from __future__ import annotations

import sys

import typer

from edgehub.errors import EdgehubError
from iothub.cli.c2d import messages
from iothub.cli.device import devices, modules
from iothub.cli.method import methods
from iothub.cli.monitor import monitor
from iothub.cli.serve import serve
from iothub.cli.twin import twins

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A self-hosted IoT Hub: run it, and manage its devices, modules, twins, methods and messages.",
)
app.command("serve")(serve)
app.add_typer(devices, name="device")
app.add_typer(modules, name="module")
app.add_typer(twins, name="twin")
app.add_typer(methods, name="method")
app.add_typer(messages, name="c2d")
app.command("monitor")(monitor)


def run() -> None:
    """Runs the program. Exit codes: 0 done, 1 failed with one line on standard error, 2 wrong usage."""
    try:
        app()
    except EdgehubError as error:
        print(f"iothub: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)
