"""When the process has to be restarted for a new server certificate (settings spec 7.5).

Only certificates that the workload API issued are renewed this way; files are the operator's.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.clock import Clock

RENEW_BEFORE_S = 150.0
"""Time before the end of validity at which the restart is due."""
SLEEP_S_MAX = 3600.0
"""Longest sleep: the wall clock of a device may jump after its first contact with a time server."""

log = logging.getLogger(__name__)


def renewal_due_s(expires: str, renew_after_ms: int, now_s: float) -> float | None:
    """Wall-clock second at which the certificate is to be renewed, None if its end cannot be read.

    :param expires: end of validity, ISO 8601.
    :param renew_after_ms: renewal is forced after that time even if the certificate lasts longer.
    """
    try:
        end = datetime.fromisoformat(expires)
    except ValueError:
        return None
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return min(end.timestamp() - RENEW_BEFORE_S, now_s + renew_after_ms / 1000)


async def wait_for_renewal(due_s: float, clock: Clock, restart: Callable[[], None]) -> None:
    """Calls `restart` once when the time has come."""
    log.info("Scheduling server certificate renewal for %s.", datetime.fromtimestamp(due_s, UTC).isoformat())
    while (left_s := due_s - clock.wall_s()) > 0:  # noqa: ASYNC110 - nothing signals a jump of the clock
        await asyncio.sleep(min(left_s, SLEEP_S_MAX))
    log.info("Restarting process to perform server certificate renewal.")
    restart()
