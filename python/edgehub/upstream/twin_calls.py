"""Twins over whatever connection stands: calls with answers, and who is followed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from edgehub.upstream.errors import UpstreamError, UpstreamOffline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgehub.upstream.connection import UpstreamConnection
    from edgehub.upstream.twin_channel import TwinAnswer

SECTIONS: Final = ("desired", "reported")


class TwinCalls:
    """Use from one event loop.

    :param connection: the connection that stands now, if any.
    :param flush: writes what a call made.
    :param own: identity of our own module.
    :param calls_max: calls on their way; more wait for their turn.
    """

    def __init__(
        self,
        connection: Callable[[], UpstreamConnection | None],
        flush: Callable[[], None],
        own: str,
        calls_max: int,
    ) -> None:
        self._connection = connection
        self._flush = flush
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._turns = asyncio.Semaphore(calls_max)
        self._calls: dict[int, asyncio.Future[TwinAnswer]] = {}
        self._count = 0
        self._followed: set[str] = set()

    # ---- for the hub

    async def get_desired(self) -> Mapping[str, Any]:
        """Desired properties of our module with `$version`.

        :raises UpstreamError: offline, no answer, or refused.
        """
        desired, _ = await self.read(self._own)
        return desired

    async def patch_reported(self, patch: Mapping[str, Any]) -> None:
        """Merges a patch into the reported properties of our module.

        :raises UpstreamError: offline, no answer, or refused.
        """
        await self.report(self._own, patch)

    async def read(self, identity: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Desired and reported properties of an identity with `$version`.

        :raises UpstreamError: offline, no answer, or refused.
        """
        answer = await self._call(
            lambda connection, request, now: connection.twin_get(identity, request, now)
        )
        try:
            document = json.loads(answer.body)
            desired, reported = (document[section] for section in SECTIONS)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UpstreamError(f"the parent hub sent a twin of {identity} that cannot be read") from None
        if not (isinstance(desired, dict) and isinstance(reported, dict)):
            raise UpstreamError(f"the parent hub sent a twin of {identity} whose sections are no objects")
        return desired, reported

    async def report(self, identity: str, patch: Mapping[str, Any]) -> int | None:
        """Merges a patch into the reported properties of an identity; gives their version, if told.

        :raises UpstreamError: offline, no answer, or refused.
        """
        encoded = json.dumps(dict(patch), separators=(",", ":")).encode()
        answer = await self._call(
            lambda connection, request, now: connection.twin_report(identity, request, encoded, now)
        )
        return answer.version

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Asks for desired patches of a client, or no longer; holds over lost connections."""
        (self._followed.add if wanted else self._followed.discard)(identity)
        connection = self._connection()
        if connection is not None:
            connection.twin_follow(identity, self._loop.time(), wanted=wanted)
            self._flush()

    # ---- word from the connection

    def connection_up(self, connection: UpstreamConnection) -> None:
        """A new connection knows nothing of whom we follow."""
        for identity in sorted(self._followed):
            connection.twin_follow(identity, self._loop.time(), wanted=True)

    def done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A call ended."""
        call = self._calls.get(request)
        if call is None or call.done():
            return
        if isinstance(result, UpstreamError):
            call.set_exception(result)
        else:
            call.set_result(result)

    async def _call(self, send: Callable[[UpstreamConnection, int, float], None]) -> TwinAnswer:
        async with self._turns:
            connection = self._connection()
            if connection is None:
                raise UpstreamOffline("there is no link to the parent hub")
            self._count += 1
            request = self._count
            call: asyncio.Future[TwinAnswer] = self._loop.create_future()
            self._calls[request] = call
            try:
                send(connection, request, self._loop.time())
                self._flush()
                return await call
            finally:
                del self._calls[request]
