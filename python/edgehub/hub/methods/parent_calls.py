"""Method calls of the parent hub: to clients here, and to `$edgeHub` itself (heads spec 5.3, 6)."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.ids import IdentityId
from edgehub.common.method_calls import MethodCall, MethodError
from edgehub.errors import EdgehubError
from edgehub.hub.methods.service import STATUS
from edgehub.protocol.topics import SubscriptionKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgehub.hub.methods.service import DirectMethods

RESPONSE_TIMEOUT_S: Final = 330.0
"""The limit of the parent hub, whose caller chose the time, ends first."""
CALLER: Final = "upstream"
REFRESH: Final = "refreshdevicescopeidentitycache"
DEVICE_IDS_MAX: Final = 1000

log = logging.getLogger(__name__)


class ParentMethods(Protocol):
    """The way to the parent hub."""

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Takes calls to an identity, or no longer; holds over lost links."""
        ...


class ParentCalls:
    """Answers the parent hub; never raises for what a caller did.

    :param own: identity of `$edgeHub`.
    :param refresh: reads identities again.
    """

    def __init__(
        self,
        own: IdentityId,
        parent: ParentMethods,
        methods: DirectMethods,
        refresh: Callable[[Sequence[IdentityId]], Awaitable[None]],
    ) -> None:
        self._parent = parent
        self._methods = methods
        self._refresh = refresh
        parent.follow(str(own), wanted=True)
        methods.serve_own(own, self._serve_own)

    async def serve(self, identity: str, name: str, payload: bytes) -> tuple[int, bytes]:
        """One call; status and payload of the answer (DEV-18: 404 or 504 when there is none)."""
        target = IdentityId.parse(identity)
        try:
            call = MethodCall(name, payload or b"null", RESPONSE_TIMEOUT_S)
            answer = await self._methods.call(CALLER, target, call)
        except MethodError as error:
            log.info("Method %.100s of %s, called by the parent hub: %s", name, identity, error)
            return STATUS[error.failure], b""
        return answer.status, answer.payload

    async def _serve_own(self, name: str, payload: bytes) -> tuple[int, bytes]:
        """I-024."""
        if name.lower() != REFRESH:
            return 404, _message(f"Method {name:.100} is not supported")
        identities = _identities_of(payload)
        if identities is None:
            return 400, _message('expected {"deviceIds":["device","device/module",...]}')
        try:
            await self._refresh(identities)
        except EdgehubError as error:
            return 500, _message(str(error))
        return 200, b"null"

    # Events of the heads: who listens can be called by the parent hub.

    def connected(self, identity: IdentityId) -> None:
        """Maybe in the place of another; it is followed once it subscribes."""
        self._parent.follow(str(identity), wanted=False)

    def disconnected(self, identity: IdentityId) -> None:
        """A client left."""
        self._parent.follow(str(identity), wanted=False)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """Nothing to do."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """A client's subscriptions are these."""
        self._parent.follow(str(identity), wanted=SubscriptionKind.METHODS in kinds)


def _identities_of(payload: bytes) -> list[IdentityId] | None:
    try:
        ids = json.loads(payload)["deviceIds"]
        if not isinstance(ids, list) or len(ids) > DEVICE_IDS_MAX:
            return None
        return [IdentityId.parse(text) for text in ids]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _message(text: str) -> bytes:
    return json.dumps({"message": text}).encode()
