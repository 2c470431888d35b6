"""Twin requests of MQTT clients: what `iothub.twins` says, with status, version and error body (section
1.5.2)."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from edgehub.heads.backend import TwinAnswer
from iothub import jsonio
from iothub.errors import ErrorCode, HubError, argument_invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.common.ids import IdentityId
    from iothub.twins.service import Twins

STATUS_READ: Final = 200
STATUS_REPORTED: Final = 204
_VERSION: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

log = logging.getLogger(__name__)


class MqttTwins:
    """Answers with the device's view of its twin.

    :param clock: Unix time.
    """

    def __init__(self, twins: Twins, clock: Callable[[], float]) -> None:
        self._twins = twins
        self._clock = clock

    async def get(self, identity: IdentityId) -> TwinAnswer:
        """Desired and reported properties with their versions, without metadata and tags (row 104)."""
        return await self._answered(identity, self._get(identity))

    async def report(self, identity: IdentityId, payload: bytes, version: str | None) -> TwinAnswer:
        """A patch; an answer that it is taken has the new version (row 57)."""
        return await self._answered(identity, self._report(identity, payload, version))

    async def _get(self, identity: IdentityId) -> TwinAnswer:
        twin = await self._twins.get(*identity)
        return TwinAnswer(STATUS_READ, jsonio.encode(twin.device_view()))

    async def _report(self, identity: IdentityId, payload: bytes, version: str | None) -> TwinAnswer:
        if version is not None and not _VERSION.fullmatch(version):
            raise argument_invalid(f"$version must be a number, not {version[:40]!r}.")
        patch = jsonio.parse_object(payload, "the reported patch")
        twin = await self._twins.report(*identity, patch, None if version is None else int(version))
        return TwinAnswer(STATUS_REPORTED, version=twin.reported.version)

    async def _answered(self, identity: IdentityId, operation: Awaitable[TwinAnswer]) -> TwinAnswer:
        try:
            return await operation
        except HubError as refusal:
            log.info("Client %s: a request about its twin is refused: %s", identity, refusal)
            error = refusal
        except Exception:
            log.exception("Client %s: a request about its twin failed", identity)
            error = HubError(ErrorCode.ServerError, "The hub has a fault; its log says more.")
        return TwinAnswer(error.code.http_status, jsonio.encode(error.details(self._clock())))
