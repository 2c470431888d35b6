"""`python -m edgeagent.workload`: the service as a process."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from edgeagent.workload.errors import EXIT_FAILED, ServiceError, WorkloadError
from edgeagent.workload.service import WorkloadService
from edgeagent.workload.settings import Invocation, read_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_BYTES_MAX = 1024 * 1024
LOG_FILES = 1
"""Older log files that are kept."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT.

    :returns: exit code: 0 after a clean stop, 1 when the service cannot start, 3 when another process serves
        this folder; with a line that says why.
    """
    try:
        invocation = read_arguments(sys.argv[1:] if arguments is None else arguments)
        _set_up_log(invocation)
        asyncio.run(_serve(invocation))
    except (WorkloadError, OSError) as error:
        sys.stderr.write(f"edgeagent workload: {error}\n")
        return error.exit_code if isinstance(error, ServiceError) else EXIT_FAILED
    return 0


async def _serve(invocation: Invocation) -> None:
    service = WorkloadService(invocation.settings, detached=invocation.detached)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop_asked.set)
    await service.run()


def _set_up_log(invocation: Invocation) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if invocation.log_file:
        handler = RotatingFileHandler(invocation.log_file, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )


if __name__ == "__main__":
    sys.exit(main())
