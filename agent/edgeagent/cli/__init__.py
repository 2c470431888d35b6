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
    if given[:1] == ["run"]:
        from edgeagent.app.start import start

        return start(given[1:])
    if given[:1] == ["workload"]:
        from edgeagent.workload.__main__ import main as serve_workload

        return serve_workload(given[1:])
    from edgeagent.cli.commands import run_command

    return run_command(given)
