"""Method calls of the parent hub over whatever connection stands."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgehub.upstream.followed_links import FollowedLinks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.upstream.connection import UpstreamConnection
    from edgehub.upstream.method_channel import MethodChannel, MethodRequest

log = logging.getLogger(__name__)


class MethodLinks(FollowedLinks):
    """Takes calls and answers them. Parameters as of `FollowedLinks`."""

    def __init__(
        self, connection: Callable[[], UpstreamConnection | None], flush: Callable[[], None]
    ) -> None:
        super().__init__(
            connection,
            flush,
            lambda link, identity, now, wanted: link.method_follow(identity, now, wanted=wanted),
        )
        self._serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]] | None = None

    def serve_with(self, serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]) -> None:
        """Who answers: identity, name and payload -> status and payload."""
        self._serve = serve

    def requested(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method."""
        self._begin(self._answer(channel, request))

    async def _answer(self, channel: MethodChannel, request: MethodRequest) -> None:
        status, payload = 404, b""
        if self._serve is not None:
            try:
                status, payload = await self._serve(request.identity, request.name, request.payload)
            except Exception:
                # Without an answer the caller would wait, and the credit of the call would never come back.
                log.exception("A call of the parent hub to %s failed", request.identity)
                status, payload = 500, b""
        if channel.answer(request, status, payload):
            self._flush()
        else:
            log.info("The parent hub is gone before the answer of %s to its call", request.identity)
