"""The command `edgeagent`."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code. A running agent imports nothing of the command line."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        from edgeagent import __version__

        print(f"edgeagent {__version__}")
        return 0
    from edgeagent.cli.commands import run_command

    return run_command(given)
