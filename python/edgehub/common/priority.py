"""Who gets the processor first when there is only one core for the whole process."""

from __future__ import annotations

import logging
import os
import threading

log = logging.getLogger(__name__)


def lower_python_threads(nice: int) -> None:
    """Gives the Python threads of this process, and those that they start later, this nice value.

    Threads of the core that already run keep theirs, so that they come first. On Linux the nice value belongs
    to the thread; raising it needs no right. Where it cannot be set, threads stay equal.

    :param nice: 0 to 19, not below that of the process.
    """
    for thread in threading.enumerate():
        number = thread.native_id
        if number is None:
            continue
        try:
            if nice > os.getpriority(os.PRIO_PROCESS, number):
                os.setpriority(os.PRIO_PROCESS, number, nice)
        except OSError as error:
            log.debug("The priority of thread %s cannot be set: %s", thread.name, error)
