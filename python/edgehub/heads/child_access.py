"""Who may ask for something in the name of devices below: child edge devices, and how many of their requests
are served at a time (heads spec 3.2 to 3.4).

No request of a child holds up anything else: what has to wait waits in places that are counted, and ends.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId
from edgehub.heads.line_budget import LineBudget
from edgehub.heads.rest import RefusalError, credential_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from edgehub.common.clock import Clock
    from edgehub.heads.forwarded import ForwardedCertificates
    from edgehub.identity.authenticator import Authenticator, AuthRequest, Verdict

REQUESTS_MAX: Final = 64
"""Requests of children that are worked on at a time; one more is answered with 429."""
REQUESTS_PER_CHILD_MAX: Final = 16
"""Of them, those of one child."""
AUTH_WAITS_MAX: Final = 16
"""Requests that may wait for the parent hub to say who asks; one more is answered with 429. They have
places of their own, so that strangers take none from children that are known."""
LINES_BURST: Final = 100.0
LINES_PER_S: Final = 10.0
"""Log lines of refused requests."""

log = logging.getLogger(__name__)


class ChildAccess:
    """Authenticates, and gives places to those who are let in.

    :param forwarded: reads the certificates that a proxy passes on; None: they are not looked at.
    """

    def __init__(
        self, authenticator: Authenticator, clock: Clock, forwarded: ForwardedCertificates | None = None
    ) -> None:
        self._authenticator = authenticator
        self._forwarded = forwarded
        self._lines = LineBudget(clock, LINES_BURST, LINES_PER_S)
        self._busy: Counter[str] = Counter()
        self._auth_waits = 0

    async def child_of(self, request: web.Request) -> str:
        """The edge device whose `$edgeHub` asks, from the path (`device`, `module`) and the token.

        :raises RefusalError: 401; 429 as `AUTH_WAITS_MAX`.
        """
        actor = IdentityId(request.match_info["device"], request.match_info["module"])
        if actor.module_id != EDGE_HUB_MODULE_ID:
            raise self._refusal(request, f"{actor} is not {EDGE_HUB_MODULE_ID}: it cannot act for others")
        await self.authenticate(request, actor)
        return actor.device_id

    async def authenticate(self, request: web.Request, identity: IdentityId) -> None:
        """Makes sure that an identity asks.

        :raises RefusalError: as of `child_of`; 503 as long as nobody can be known: a child that gets 401
            forgets the identity that it asked for.
        """
        try:
            asked = await credential_of(request, identity, self._forwarded)
        except RefusalError as error:
            self._tell(request, str(error))
            raise
        verdict = self._authenticator.check(asked)
        if not verdict.accepted and self._authenticator.may_refresh(verdict):
            verdict = await self._ask_parent(asked)
        if not verdict.accepted:
            self._tell(request, f"{identity}: {verdict.reason}")
            if self._authenticator.is_undecided(verdict):
                raise RefusalError(
                    503, "this edge device does not know its device scope yet; try again later"
                )
            raise RefusalError(401, f"Unable to authenticate device with Id {identity}")

    async def _ask_parent(self, asked: AuthRequest) -> Verdict:
        if self._auth_waits >= AUTH_WAITS_MAX:
            raise RefusalError(429, f"{AUTH_WAITS_MAX} requests wait for the parent hub; try again later")
        self._auth_waits += 1
        try:
            return await self._authenticator.authenticate(asked)
        finally:
            self._auth_waits -= 1

    @contextlib.contextmanager
    def place(self, name: str) -> Iterator[None]:
        """One place for a request, until it is answered.

        :param name: the authenticated device.
        :raises RefusalError: 429, there is none.
        """
        if self._busy[name] >= REQUESTS_PER_CHILD_MAX or self._busy.total() >= REQUESTS_MAX:
            raise RefusalError(429, "too many requests at the same time; try again later")
        self._busy[name] += 1
        try:
            yield
        finally:
            self._busy[name] -= 1
            if not self._busy[name]:
                del self._busy[name]

    def refused(self, request: web.Request, error: Exception) -> None:
        """Tells the log of a request that was refused after its sender was known."""
        self._tell(request, str(error))

    def _refusal(self, request: web.Request, text: str) -> RefusalError:
        self._tell(request, text)
        return RefusalError(401, text)

    def _tell(self, request: web.Request, reason: str) -> None:
        if not self._lines.spend():
            return
        untold = self._lines.take_untold()
        if untold:
            log.warning("%d more refused requests were not logged one by one", untold)
        log.warning("%s %.300s from %s refused: %.500s", request.method, request.path, request.remote, reason)
