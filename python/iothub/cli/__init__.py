"""The `iothub` command line."""

from __future__ import annotations


def main() -> None:
    """Entry point; ends the process with 0, with 1 after one line of explanation, or with 2 for wrong
    usage."""
    from iothub.cli.app import run

    run()
