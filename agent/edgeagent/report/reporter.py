"""Sends the reported properties when they change (agent spec 1.10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from edgeagent.errors import AgentError
from edgeagent.link.errors import LinkDownError, RequestRefusedError
from edgeagent.model.current import RuntimeStatus
from edgeagent.report.diff import applied, diff, split_removals
from edgeagent.report.outcome import SHUTDOWN
from edgeagent.report.size import PATCH_BYTES_MAX, fit, size_of
from edgeagent.report.state import failed_state, modules_of, reported_state, status_json

if TYPE_CHECKING:
    from edgeagent.report.snapshot import Snapshot

REFUSED_WAIT_S: Final = 60.0
"""A hub that refuses a report is not asked again at once; most likely it is for the same reason."""

Sender: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[object]]
"""Merges a patch into the reported properties at the hub, or raises `LinkError`."""

log = logging.getLogger(__name__)


class Reporter:
    """Knows what the hub knows, and sends the difference.

    :param send: such as :meth:`~edgeagent.link.client.UpstreamLink.report`.
    """

    def __init__(self, send: Sender) -> None:
        self._send = send
        self._known: dict[str, Any] | None = None
        self._lock = asyncio.Lock()
        self._not_before = float("-inf")

    @property
    def last_desired_version(self) -> int | None:
        """What was reported last, perhaps before a restart; None when nothing was."""
        version = (self._known or {}).get("lastDesiredVersion")
        return version if isinstance(version, int) and not isinstance(version, bool) else None

    def sync(self, reported: Mapping[str, Any]) -> None:
        """The whole twin was read: that is what the hub knows, whoever wrote or wiped it."""
        self._known = dict(reported)

    async def report(self, snapshot: Snapshot, now: float) -> bool:
        """Sends what changed, if anything did; whether the hub knows all now. Never fails.

        :param now: a clock that only goes forward, in seconds.
        """
        async with self._lock:
            if self._known is None or now < self._not_before:
                return False
            return await self._send_all(self._patch(snapshot, self._known), now)

    def _patch(self, snapshot: Snapshot, known: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return diff(known, fit(reported_state(snapshot)))
        except Exception as fault:
            log.exception("The reported state cannot be built")
            state = failed_state(snapshot, fault)
            return diff({name: known[name] for name in state if name in known}, state)

    async def shutdown(self, now: float) -> bool:
        """The last word: not running, and nothing is known of the modules (rows R01, R02)."""
        async with self._lock:
            if self._known is None:
                return False
            return await self._send_all(diff(self._known, _shut_down(self._known)), now)

    async def _send_all(self, patch: Mapping[str, Any], now: float) -> bool:
        """In one patch, or in two when one would be too large: first what goes, then what comes."""
        patches = (patch,) if size_of(patch) <= PATCH_BYTES_MAX else split_removals(patch)
        for part in patches:
            if part and not await self._send_one(part, now):
                return False
        return True

    async def _send_one(self, patch: Mapping[str, Any], now: float) -> bool:
        try:
            await self._send(patch)
        except LinkDownError:
            log.debug("Nothing is reported: there is no connection")
            return False
        except (AgentError, OSError) as fault:
            if isinstance(fault, RequestRefusedError):
                self._not_before = now + REFUSED_WAIT_S
            log.warning("The state could not be reported: %s", fault)
            return False
        # It may have been read anew meanwhile; then the patch is in it or is merged once more.
        self._known = applied(self._known or {}, patch)
        return True


def _shut_down(known: Mapping[str, Any]) -> dict[str, Any]:
    state = {**known, "lastDesiredStatus": status_json(SHUTDOWN)}
    for section, name in modules_of(known):
        module = {**known[section][name], "runtimeStatus": RuntimeStatus.UNKNOWN.value}
        state[section] = {**state[section], name: module}
    return state
