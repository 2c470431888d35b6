"""When a message that was not sent is tried again (agent spec 6.4). Pure.

20 more tries, with pauses that double: five minutes and 0, 1, 3, 7, 15 ... minutes, at most twelve hours.
"""

from __future__ import annotations

RETRIES_MAX = 20
_LEAST_S = 5 * 60.0
_DELTA_S = 60.0
_MOST_S = 12 * 3600.0
SPREAD = (0.8, 1.2)
"""The part that doubles is multiplied by a random number from here, so that not all devices come at once."""


def pause_s(retries: int, spread: float) -> float | None:
    """Pause before the next try, None when there will be none.

    :param retries: tries that failed after the first one.
    :param spread: a random number within :data:`SPREAD`.
    """
    if retries >= RETRIES_MAX:
        return None
    return min(_LEAST_S + ((1 << retries) - 1) * _DELTA_S * spread, _MOST_S)
