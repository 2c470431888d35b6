"""When a module that ended is started again (agent spec 2.5, rows P18 to P26).

A clean exit of an `on-failure` or `on-unhealthy` module ends its work, unless `restart_on_clean_exit` asks
for what the reference does. The first crash is mended at once; from the second on the pauses are as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
from edgeagent.model.module import Module, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

COOL_OFF_S_MAX = 300
_NO_RESTARTS = Restarts(0, 0)
_UP = (RuntimeStatus.RUNNING, RuntimeStatus.UNHEALTHY)
_ENDED = (RuntimeStatus.STOPPED, RuntimeStatus.FAILED)


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """How patient the agent is.

    :param restarts_max: `MaxRestartCount`; a module that crashed more often stays `failed`.
    :param cool_off_unit_s: `CoolOffTimeUnitInSeconds`.
    :param intensive_care_s: `IntensiveCareTimeInMinutes`: after so long the count begins anew.
    :param restart_on_clean_exit: start `on-failure` and `on-unhealthy` modules again that ended with 0.
    """

    restarts_max: int = 20
    cool_off_unit_s: int = 10
    intensive_care_s: int = 600
    restart_on_clean_exit: bool = False


def cool_off_s(restart_count: int, unit_s: int) -> int:
    """Pause between the end of a module and its next start (row P18): unit x 2^count, at most 300 s."""
    return min(unit_s << min(restart_count, 16), COOL_OFF_S_MAX)


def _policy_applies(module: Module, current: CurrentModule, settings: RestartSettings) -> bool:
    policy = module.restart_policy
    if policy is RestartPolicy.NEVER:
        return False
    if policy is RestartPolicy.ALWAYS:
        return True
    if current.status is RuntimeStatus.UNHEALTHY:
        return policy is RestartPolicy.ON_UNHEALTHY
    return current.status is RuntimeStatus.FAILED or settings.restart_on_clean_exit


def effective_status(
    module: Module, current: CurrentModule, restarts: Restarts | None, settings: RestartSettings
) -> RuntimeStatus:
    """Status as it is reported (table of agent spec 1.9).

    :param restarts: restarts so far, None for none.
    """
    if not module.wants_running or module.is_agent:
        return current.status
    if current.status not in (*_ENDED, RuntimeStatus.UNHEALTHY):
        return current.status
    if current.started_at_ms is None or not _policy_applies(module, current, settings):
        return current.status
    count = (restarts or _NO_RESTARTS).count
    return RuntimeStatus.FAILED if count >= settings.restarts_max else RuntimeStatus.BACKOFF


def restart_due_ms(current: CurrentModule, restarts: Restarts | None, settings: RestartSettings) -> int:
    """When a module in back-off may start; times in the future mean at once, as the clock has jumped.

    The pause counts from the end of the container; one that is unhealthy has not ended, so from its last
    restart.
    """
    known = restarts or _NO_RESTARTS
    if known.count == 0:
        return 0
    ended_ms = known.last_at_ms if current.status is RuntimeStatus.UNHEALTHY else current.finished_at_ms
    return (ended_ms or 0) + cool_off_s(known.count, settings.cool_off_unit_s) * 1000


def is_due(due_ms: int, began_ms: int, now_ms: int) -> bool:
    """Whether a pause is over; also where its beginning lies in the future (row P24)."""
    return now_ms >= due_ms or now_ms < began_ms


def is_stable(current: CurrentModule, settings: RestartSettings, now_ms: int) -> bool:
    """Whether a module has run long enough for its restarts to be forgotten (row P25)."""
    if current.status is not RuntimeStatus.RUNNING or current.started_at_ms is None:
        return False
    return now_ms - current.started_at_ms > settings.intensive_care_s * 1000


def restarted(restarts: Mapping[str, Restarts], name: str, now_ms: int) -> Restarts:
    """The record after one more restart (row P26)."""
    return Restarts(restarts.get(name, _NO_RESTARTS).count + 1, now_ms)


def is_up(current: CurrentModule) -> bool:
    """Whether its process runs."""
    return current.status in _UP
