"""Cloud-to-device messages: from the parent hub to devices that are connected here (heads spec 8).

Nothing is stored here: the parent hub keeps a message until the device has acknowledged it. What a device has
acknowledged is remembered for a while, because the word of it may be lost with the link; when the parent hub
then hands the message out again, it is told once more, and the device is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.ids import IdentityId
from edgehub.common.publishing import publish_to_first
from edgehub.protocol.cloud_messages import Settlement, cloud_topic
from edgehub.protocol.topics import SubscriptionKind, base_topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from edgehub.protocol.cloud_messages import CloudMessage

CREATED_SKEW_MS: Final = 30_000
"""A message counts as this much younger than it is: the clocks of both hubs differ (M-053)."""
REMEMBERED_MAX: Final = 1000
"""Acknowledged messages that are remembered; the oldest is forgotten."""
BUSY_RETRY_S: Final = 5.0
BUSY_TRIES_MAX: Final = 10
"""A device that does not read is tried again so often; then the message stays at the parent hub."""

log = logging.getLogger(__name__)


class ParentMessages(Protocol):
    """The way to the parent hub."""

    def follow(self, identity: str, *, wanted: bool) -> None:
        """Takes messages for a device, or no longer; holds over lost links."""
        ...


class CloudMessages:
    """Hands messages to devices and says what became of them. Use from one event loop.

    :param send: publishes to a client: identity, topic, payload and the time of its creation; gives the
        outcome of `SendDoneEvent`, None if the client is not connected here.
    """

    def __init__(
        self,
        parent: ParentMessages,
        send: Callable[[IdentityId, str, bytes, int | None], asyncio.Future[str] | None],
    ) -> None:
        self._parent = parent
        self._send = send
        self._open: set[tuple[IdentityId, UUID]] = set()
        self._acknowledged: OrderedDict[tuple[IdentityId, tuple[int, int, str]], None] = OrderedDict()

    async def serve(self, identity: str, message: CloudMessage) -> Settlement:
        """Takes one message to its device."""
        target = IdentityId.parse(identity)
        if message.lock_token is None:
            return await self._hand_out(target, message)
        delivery = target, message.lock_token
        if delivery in self._open:
            return Settlement.NOTHING  # T-014
        self._open.add(delivery)
        try:
            return await self._hand_out(target, message)
        finally:
            self._open.discard(delivery)

    async def _hand_out(self, target: IdentityId, message: CloudMessage) -> Settlement:
        created_ms = None if message.enqueued_ms is None else message.enqueued_ms + CREATED_SKEW_MS
        for _ in range(BUSY_TRIES_MAX):
            if message.key is not None and (target, message.key) in self._acknowledged:
                # Also while this one waited: over a link that stands since.
                return Settlement.COMPLETE
            outcome = await self._publish(target, message, created_ms)
            if outcome != "overflow":
                break
            await asyncio.sleep(BUSY_RETRY_S)
        if outcome in ("acked", "sent"):
            self._remember(target, message)
            return Settlement.COMPLETE
        if outcome in ("closed", "overflow"):
            return Settlement.NOTHING  # T-015
        log.warning("Device %s: a cloud-to-device message is rejected: %s", target, outcome)
        return Settlement.REJECT  # M-054

    async def _publish(self, target: IdentityId, message: CloudMessage, created_ms: int | None) -> str:
        """In the spelling of the topic that the client subscribed to."""
        topics = (cloud_topic(base, message) for base in base_topics(target))
        return await publish_to_first(
            topics, lambda topic: self._send(target, topic, message.payload, created_ms)
        )

    def _remember(self, target: IdentityId, message: CloudMessage) -> None:
        if message.key is None:
            return
        self._acknowledged[target, message.key] = None
        if len(self._acknowledged) > REMEMBERED_MAX:
            self._acknowledged.popitem(last=False)

    # Events of the heads: a device that subscribes gets its messages.

    def connected(self, identity: IdentityId) -> None:
        """Maybe in the place of another; it is followed once it subscribes."""
        self._parent.follow(str(identity), wanted=False)

    def disconnected(self, identity: IdentityId) -> None:
        """A client left."""
        self._parent.follow(str(identity), wanted=False)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        """Nothing to do."""

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        """A client's subscriptions are these. Only devices have messages of the cloud."""
        wanted = identity.module_id is None and SubscriptionKind.CLOUD_TO_DEVICE in kinds
        self._parent.follow(str(identity), wanted=wanted)
