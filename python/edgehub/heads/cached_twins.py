"""The twins of a gateway as its clients are told of them: a status for every outcome (heads spec 1.7)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.state import StateError
from edgehub.errors import EdgehubError
from edgehub.heads.backend import TwinAnswer
from edgehub.protocol.reported import ReportedError

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId

STATUS_READ: Final = 200
STATUS_REPORTED: Final = 204
STATUS_BAD: Final = 400
STATUS_FAILED: Final = 500

log = logging.getLogger(__name__)


class Twins(Protocol):
    """The twins of clients; `edgehub.hub.twins`."""

    async def get(self, identity: IdentityId) -> bytes: ...
    async def report(self, identity: IdentityId, payload: bytes) -> None: ...


class CachedTwins:
    """Answers with a status and nothing else; a patch is for whatever version there is."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins

    async def get(self, identity: IdentityId) -> TwinAnswer:
        """The twin as JSON."""
        try:
            return TwinAnswer(STATUS_READ, await self._twins.get(identity))
        except StateError as error:
            log.error("Client %s: the twin cannot be read: %s", identity, error)
            return TwinAnswer(STATUS_FAILED)

    async def report(self, identity: IdentityId, payload: bytes, version: str | None) -> TwinAnswer:
        """A patch; answered once it is stored."""
        try:
            await self._twins.report(identity, payload)
        except ReportedError as error:
            log.warning("Client %s: %s", identity, error)
            return TwinAnswer(STATUS_BAD)
        except EdgehubError as error:
            log.error("Client %s: reported properties are not stored: %s", identity, error)
            return TwinAnswer(STATUS_FAILED)
        return TwinAnswer(STATUS_REPORTED)
