"""Method calls to the clients of this hub (heads spec 6; T-001 to T-003)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.method_calls import Failure, MethodAnswer, MethodCalls
from edgehub.protocol.topics import SubscriptionKind

if TYPE_CHECKING:
    import asyncio

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.common.method_calls import MethodCall

OwnMethods = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Name and payload -> status and payload."""

STATUS: Final = {
    Failure.ABSENT: 404,
    Failure.TOO_MANY: 429,
    Failure.NO_ANSWER: 504,
    Failure.LEFT: 504,
}
"""What a caller is told, over HTTP and at the parent hub (heads spec 3.1, DEV-18)."""


class MethodObserver(Protocol):
    """Counts calls."""

    def method_called(self, caller: str, target: IdentityId, seconds: float) -> None:
        """A target was called, whatever became of it."""
        ...


class DirectMethods:
    """Calls to all clients. Use from one event loop.

    :param send: as of `MethodCalls`.
    """

    def __init__(
        self,
        send: Callable[[IdentityId, str, MethodCall], asyncio.Future[str] | None],
        clock: Clock,
        observer: MethodObserver,
    ) -> None:
        self._calls: MethodCalls[IdentityId] = MethodCalls(send)
        self._clock = clock
        self._observer = observer
        self._own: IdentityId | None = None
        self._serve_own: OwnMethods | None = None

    def serve_own(self, own: IdentityId, serve: OwnMethods) -> None:
        """`$edgeHub` can be called like a client that always listens (heads spec 5.3)."""
        self._own, self._serve_own = own, serve

    async def call(self, caller: str, target: IdentityId, call: MethodCall) -> MethodAnswer:
        """Calls a method of a client that is connected here.

        :param caller: for counters: an identity, or `upstream`.
        :raises MethodError: there is no answer.
        """
        started = self._clock.monotonic_s()
        try:
            if self._serve_own is not None and target == self._own:
                return MethodAnswer(*await self._serve_own(call.name, call.payload))
            return await self._calls.call(target, call)
        finally:
            self._observer.method_called(caller, target, self._clock.monotonic_s() - started)

    def answered(self, target: IdentityId, request_id: str, answer: MethodAnswer) -> bool:
        """A client answered; False if no call waits for it."""
        return self._calls.answered(target, request_id, answer)

    # Events of the heads

    def connected(self, identity: IdentityId) -> None:
        """A client connected, maybe in the place of another, which answers no more."""
        self._calls.gone(identity)

    def disconnected(self, identity: IdentityId) -> None:
        """A client left."""
        self._calls.gone(identity)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """Nothing to do."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """A client's subscriptions are these."""
        if SubscriptionKind.METHODS in kinds:
            self._calls.listens(identity)
        else:
            self._calls.ignores(identity)
