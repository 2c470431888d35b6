"""The deployment in the twin of `$edgeAgent` (agent spec 2.9)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

from edgeagent.errors import AgentError
from edgeagent.source.desired import Desired, DesiredBox
from edgeagent.source.twin_state import REFRESH_S, TwinState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeagent.link.topics import DesiredPatch
    from edgeagent.link.twin import Twin

log = logging.getLogger(__name__)


class TwinReader(Protocol):
    """What is needed of :class:`~edgeagent.link.client.UpstreamLink`."""

    async def get_twin(self) -> Twin:
        """Reads the whole twin, or raises `LinkError`."""
        ...


class TwinSource:
    """Follows the twin; a listener of the link (:class:`~edgeagent.link.client.LinkListener`).

    :param box: takes the desired properties.
    :param reported: told of the reported properties at each read of the whole twin.
    :param refresh_s: `ConfigRefreshFrequencySecs`.
    """

    def __init__(
        self,
        reader: TwinReader,
        box: DesiredBox,
        reported: Callable[[Mapping[str, Any]], None],
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._reader = reader
        self._box = box
        self._reported = reported
        self._state = TwinState(refresh_s)
        self._wake = asyncio.Event()
        self.reads = 0
        """Reads of the whole twin that were tried; for metrics."""
        self.reads_failed = 0

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if self._state.should_read(loop.time()):
                await self._read()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._state.deadline):
                    await self._wake.wait()
            self._wake.clear()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        self.reads += 1
        try:
            twin = await self._reader.get_twin()
        except (AgentError, OSError) as fault:
            self.reads_failed += 1
            wait_s = self._state.failed(loop.time())
            log.warning("The twin cannot be read: %s; next try in %.0f s", fault, wait_s)
            self._box.fail(fault)
            return
        self._reported(twin.reported)
        desired = self._state.read(Desired(twin.version, twin.desired), loop.time())
        if desired is not None:
            self._box.put(desired)

    # What the link tells

    def link_up(self) -> None:
        self._state.connected(asyncio.get_running_loop().time())
        self._wake.set()

    def link_down(self, _reason: str) -> None:
        self._state.disconnected()

    def link_refused(self, _reason: str) -> None:
        """No concern of the twin."""

    def desired_patch(self, patch: DesiredPatch) -> None:
        desired = self._state.patch(patch.version, patch.patch, asyncio.get_running_loop().time())
        if desired is not None:
            self._box.put(desired)
        self._wake.set()
