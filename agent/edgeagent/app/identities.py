"""Identities of modules for the loop: made up on this device, or kept in the hub's registry."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgeagent.model.module import EDGE_AGENT, SYSTEM_MODULES
from edgeagent.planner.plan import retry_pause_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeagent.identity.manager import IdentityManager
    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Deployment

RETRY_UNIT_S = 5

_log = logging.getLogger(__name__)


class LocalIdentities:
    """Without a hub every module may run; the workload service makes up the generations."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()

    def known(self) -> frozenset[str]:
        return self._known

    def want(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        self._known = frozenset(module.identity for module in deployment.modules.values())

    def generation_id(self, module_id: str) -> str | None:
        return None


class HubIdentities:
    """Brings the registry to the deployment in the background, and tries again when that fails.

    :param wake: called when something has changed.
    :param now_s: a clock that only goes forward.
    """

    def __init__(
        self, manager: IdentityManager, wake: Callable[[], None], now_s: Callable[[], float]
    ) -> None:
        self._manager = manager
        self._wake = wake
        self._now_s = now_s
        self._task: asyncio.Task[None] | None = None
        self._done_for: tuple[frozenset[str], frozenset[str]] | None = None
        self._failures = 0
        self._not_before_s = 0.0

    def known(self) -> frozenset[str]:
        return frozenset(self._manager.known.by_id)

    def generation_id(self, module_id: str) -> str | None:
        return self._manager.known.generation_id(module_id)

    def want(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        wanted = frozenset(module.identity for module in deployment.modules.values() if not module.is_agent)
        removed = frozenset(_identity(name) for name in current if name not in deployment.modules)
        is_new = (wanted, removed) != self._done_for and (bool(removed) or not wanted <= self.known())
        if self._task is not None or not is_new or self._now_s() < self._not_before_s:
            return
        self._task = asyncio.get_running_loop().create_task(self._ensure(wanted, removed))

    async def _ensure(self, wanted: frozenset[str], removed: frozenset[str]) -> None:
        try:
            found = await self._manager.ensure(wanted, removed)
        finally:
            self._task = None
        if found.faults:
            self._failures += 1
            pause_s = retry_pause_s(self._failures, RETRY_UNIT_S)
            self._not_before_s = self._now_s() + pause_s
            _log.info("identities are tried again in %d s", pause_s)
        else:
            self._failures, self._done_for = 0, (wanted, removed)
        self._wake()

    def link_is_back(self) -> None:
        """The hub can be reached again: what failed is tried at once."""
        self._failures, self._not_before_s = 0, 0.0
        self._wake()

    async def stop(self) -> None:
        """Ends what is under way."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _identity(name: str) -> str:
    return f"${name}" if name in SYSTEM_MODULES else name


def own_containers(current: Mapping[str, CurrentModule]) -> list[str]:
    """Containers that are not the agent's own."""
    return [name for name in sorted(current) if name != EDGE_AGENT]
