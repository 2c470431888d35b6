"""After a change of the registry: which tokens and links of a connection may stay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iothub.amqp.tokens import token_key
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from iothub.amqp.open_links import LinkEntry, OpenLinks
    from iothub.amqp.tokens import TokenRing
    from iothub.auth import Authorizer

RETRY_S: Final = 5.0
"""How long to wait for a registry that does not answer. Meanwhile everything stays as it is."""

log = logging.getLogger(__name__)


class Rechecks:
    """Devices that changed, until what relies on them was looked at."""

    def __init__(self, authorizer: Authorizer, tokens: TokenRing, links: OpenLinks) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._links = links
        self._devices: dict[str, None] = {}
        self._queued = False
        self._retry_at: float | None = None

    def add(self, device_id: str) -> bool:
        """A device or a module of it changed. Whether `run` has to be called, which is then taken as done."""
        if device_id not in self._devices:
            relies = any(self._links.relying_on(device_id)) or bool(self._tokens.of_device(device_id))
            if not relies:
                return False
            self._devices[device_id] = None
        return self._queue()

    def deadline(self, now: float) -> float | None:
        """When to try again, on the clock of `now`; None: nothing waits for that."""
        if self._queued or not self._devices:
            return None
        if self._retry_at is None:
            self._retry_at = now + RETRY_S
        return self._retry_at

    def is_due(self, now: float) -> bool:
        """Whether `run` has to be called again, which is then taken as done."""
        return self._retry_at is not None and now >= self._retry_at and self._queue()

    def _queue(self) -> bool:
        first, self._queued, self._retry_at = not self._queued, True, None
        return first

    async def run(self) -> None:
        """Ends what may stay no longer."""
        self._queued = False
        while self._devices:
            device_id = next(iter(self._devices))
            # Before the look: a change during it must be looked at, too.
            del self._devices[device_id]
            try:
                await self._check_tokens(device_id)
                await self._check_links(device_id)
            except HubError as error:
                log.warning("connections of %s cannot be checked now: %s", device_id, error)
                self._devices[device_id] = None
                return

    async def _check_tokens(self, device_id: str) -> None:
        for token, principal in self._tokens.of_device(device_id):
            error = await self._authorizer.still_valid(principal)
            current = self._tokens.get(token)
            if error is not None and current is principal and token_key(current) == token:
                self._tokens.remove(token)
                self._links.close_by_token(token, error.fault())

    async def _check_links(self, device_id: str) -> None:
        for link, entry in list(self._links.relying_on(device_id)):
            error = await self._fault_of(entry)
            if error is not None and link.tag is entry:
                self._links.close(link, error.fault())

    async def _fault_of(self, entry: LinkEntry) -> HubError | None:
        assert entry.key is not None
        assert entry.access is not None
        try:
            await self._authorizer.require_identity(*entry.key)
            if entry.access.chain is not None:
                await self._authorizer.verify_chain(entry.access.chain)
        except HubError as error:
            if error.code is ErrorCode.ServiceUnavailable:
                raise
            return error
        return None
