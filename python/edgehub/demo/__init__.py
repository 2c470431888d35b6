"""`edgehub demo`: a whole system on one machine, watched live and accounted for message by message.

The package is outside the hub: it starts `iothub` and `edgehub` as child processes and talks to them only
through their public interfaces. `stack` and `relay` are written to be reused by integration tests.
"""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Runs the demo; see `edgehub demo --help`.

    :param argv: arguments without the program's name; None takes those of the process.
    :returns: exit code: 0 nothing lost or reordered, 1 something was or the demo failed, 2 bad arguments,
        130 interrupted.
    """
    from edgehub.demo.command import run  # noqa: PLC0415 - the hub's command line stays quick to import

    return run(argv)
