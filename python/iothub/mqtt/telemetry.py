"""From the engine's store to the telemetry log.

The engine acknowledges a message to its client once its own store has it, and lends it here as it would to a
parent hub: batches of one sender, at most one of each on the way. A batch is given back as delivered only
after the commit of the log that holds it, so what was acknowledged is in one of the two, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgehub.common.ids import IdentityId
from iothub.errors import HubError
from iothub.telemetry.event import Origin
from iothub.telemetry.log import Append

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub._core import UpstreamBatch
    from edgehub.hub.ports import UpstreamCore
    from iothub.registry.service import Registry
    from iothub.telemetry.tail import Telemetry

BATCH_MSGS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 256 * 1024
SENDERS_MAX: Final = 64
"""Senders with a batch on the way to the log; those of others wait in the store."""
RETRY_S: Final = 1.0
"""How long a batch waits that could not be stored, or read."""

log = logging.getLogger(__name__)


class TelemetryDrain:
    """Keeps the engine's store empty while the log takes more.

    :param core_error: root of the core's errors.
    :param clock: Unix time.
    """

    def __init__(
        self,
        core: UpstreamCore,
        core_error: type[Exception],
        telemetry: Telemetry,
        registry: Registry,
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._core_error = core_error
        self._telemetry = telemetry
        self._registry = registry
        self._clock = clock
        self._wake = asyncio.Event()
        telemetry.listen_room(self._on_room)

    def ready(self) -> None:
        """There may be messages."""
        self._wake.set()

    async def run(self) -> None:
        """Moves what comes, until cancelled; then what is lent stays in the store."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._move()
            except self._core_error as error:
                log.error("Stored messages cannot be read: %s", error)
                asyncio.get_running_loop().call_later(RETRY_S, self.ready)

    def _on_room(self, full: bool) -> None:
        if not full:
            self.ready()

    async def _move(self) -> None:
        while not self._telemetry.full:
            batches = self._core.upstream_take(BATCH_MSGS_MAX, BATCH_BYTES_MAX, SENDERS_MAX)
            if not batches:
                return
            for batch in batches:
                await self._append(batch)

    async def _append(self, batch: UpstreamBatch) -> None:
        try:
            origin = await self._origin(batch.sender)
        except HubError as error:
            # Of each sender every second, as long as the registry does not answer: one line, no traceback.
            log.warning("The sender %s cannot be looked up now: %s", batch.sender, error)
            self._later(batch.token)
            return
        except Exception:
            log.exception("The sender %s could not be looked up", batch.sender)
            self._later(batch.token)
            return
        self._telemetry.append(
            Append(
                origin,
                batch.message_format,
                batch.count,
                batch.payload,
                int(self._clock() * 1000),
                lambda failure: self._stored(batch.token, failure),
            )
        )

    async def _origin(self, sender: str) -> Origin:
        """As the registry knows the sender. One that was deleted since it sent has no generation and no kind
        of credentials."""
        identity = IdentityId.parse(sender)
        found = await self._registry.identity(*identity)
        generation, kind = ("", "") if found is None else (found.generation_id, found.auth_type)
        return Origin(identity.device_id, identity.module_id, generation, kind)

    def _stored(self, token: int, failure: Exception | None) -> None:
        if failure is not None:
            self._later(token)
            return
        self._core.upstream_settle(token, "delivered")
        self.ready()

    def _later(self, token: int) -> None:
        asyncio.get_running_loop().call_later(RETRY_S, self._again, token)

    def _again(self, token: int) -> None:
        self._core.upstream_settle(token, "retry")
        self.ready()
