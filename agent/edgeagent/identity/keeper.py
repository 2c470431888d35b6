"""Brings identities to the deployment in the background, again and again until it is done.

The loop says in each round what it wants and looks at what is there; it never waits for a hub.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from edgeagent.identity.model import AGENT_ID
from edgeagent.model.module import SYSTEM_MODULES, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeagent.identity.manager import Identities, IdentityManager

RETRY_S_MIN: Final = 5.0
RETRY_S_MAX: Final = 300.0
_DOUBLINGS_MAX: Final = 10


def module_id(name: str) -> str:
    """Module id in the hub of a module by its name: `$edgeHub` for `edgeHub`."""
    return f"${name}" if name in SYSTEM_MODULES else name


class Wishes:
    """What is wanted of the hub and not done yet: pure, time passed in."""

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()
        self.removed: frozenset[str] = frozenset()
        self._handled: frozenset[str] = frozenset()
        self._is_due = False
        self._retry_at = float("-inf")
        self._failures = 0

    def want(self, wanted: frozenset[str], removed: frozenset[str]) -> bool:
        """Says what is wanted; true when that is something new.

        What was to be removed stays so, though its container may be gone, until it is done or wanted again.
        """
        self._handled &= removed
        removed = (self.removed | (removed - self._handled)) - wanted
        if wanted == self.wanted and removed == self.removed:
            return False
        self.wanted, self.removed = wanted, removed
        self._is_due, self._failures = True, 0
        self.hurry()
        return True

    def hurry(self) -> None:
        """Waits no longer with what failed, for the hub may be back."""
        self._retry_at = float("-inf")

    @property
    def deadline(self) -> float | None:
        """When the hub is to be asked; None when there is nothing to ask."""
        return self._retry_at if self._is_due else None

    def asked(self, removed: frozenset[str], faults: Mapping[str, str], now: float) -> None:
        """The hub was asked; `faults` by module id is what went wrong, "" the hub itself."""
        if "" not in faults:
            done = removed - faults.keys()
            self.removed -= done
            self._handled |= done
        if not faults:
            self._is_due, self._failures = False, 0
            return
        wait_s = min(RETRY_S_MIN * 2.0 ** min(self._failures, _DOUBLINGS_MAX), RETRY_S_MAX)
        self._failures += 1
        self._retry_at = now + wait_s


class IdentityKeeper:
    """What the loop knows of identities.

    :param wake: called when other identities are known.
    """

    def __init__(self, manager: IdentityManager, wake: Callable[[], None]) -> None:
        self._manager = manager
        self._wake_loop = wake
        self._wishes = Wishes()
        self._news = asyncio.Event()
        self.faults: Mapping[str, str] = {}
        """Why identities are missing, by module id; for people."""

    def known(self) -> frozenset[str]:
        """Module ids for which a container can be made."""
        return frozenset(self._manager.known.by_id)

    def generation_id(self, name: str) -> str | None:
        """Of a module by its name, for `IOTEDGE_MODULEGENERATIONID`; None without identity."""
        return self._manager.known.generation_id(module_id(name))

    def want(self, deployment: Deployment, current: Iterable[str]) -> None:
        """Begins to bring the identities to a deployment; does not wait for it.

        :param current: names of the modules that have a container.
        """
        wanted = {module.identity for module in deployment.modules.values()}
        removed = {module_id(name) for name in current if name not in deployment.modules}
        if self._wishes.want(frozenset(wanted), frozenset(removed - {AGENT_ID})):
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            deadline = self._wishes.deadline
            if deadline is None or loop.time() < deadline:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._news.wait()
                self._news.clear()
                continue
            await self._ask()

    async def _ask(self) -> None:
        wishes, before = self._wishes, self._manager.known
        wanted, removed = wishes.wanted, wishes.removed
        result = await self._manager.ensure(wanted, removed)
        self.faults = result.faults
        if wishes.wanted == wanted:
            wishes.asked(removed, result.faults, asyncio.get_running_loop().time())
        if _differ(before, result):
            self._wake_loop()

    # What the link tells

    def link_up(self) -> None:
        """The hub is back: what failed without it is tried again."""
        self._wishes.hurry()
        self._news.set()


def _differ(before: Identities, after: Identities) -> bool:
    return {name: one.generation_id for name, one in before.by_id.items()} != {
        name: one.generation_id for name, one in after.by_id.items()
    }
