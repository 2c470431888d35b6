"""`edgehub demo`: a whole system on one machine, watched live and accounted for message by message.

The package is outside the hub: it starts `iothub` and `edgehub` as child processes and talks to them only
through their public interfaces. `stack` and `relay` are written to be reused by integration tests.
"""

from __future__ import annotations

EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Runs the demo; see `edgehub demo --help`.

    :param argv: arguments without the program's name; None takes those of the process.
    :returns: exit code: 0 nothing lost or reordered, 1 something was or the demo failed, 2 bad arguments,
        130 interrupted.
    """
    try:
        from edgehub.demo.command import run  # noqa: PLC0415 - the hub's command line stays quick to import

        return run(argv)
    except KeyboardInterrupt:
        # While the modules load; afterwards `run` sees to it.
        return EXIT_INTERRUPTED
