"""The command `edgehub`. Without arguments it runs the hub and imports nothing that a run does not need."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        from edgehub.app import run_hub

        return run_hub()
    if given == ["--version"]:
        from edgehub import __version__

        print(f"edgehub {__version__}")
        return 0
    if given[0] == "demo":
        from edgehub.demo import main as demo

        return demo(given[1:])
    from edgehub.cli.commands import run_command

    return run_command(given)
