"""Nodes of cloud-to-device messages: the device's, and those of the service (sections 1.4.5, 2.5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from iothub.amqp.c2d_messages import encode_delivery, encode_feedback, read_service_message
from iothub.amqp.locked_outbox import Taken
from iothub.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from edgehub.protocol.amqp_events import OutcomeKind, Received
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink
    from iothub.amqp.nodes import Enqueue
    from iothub.c2d.feedback import Feedback
    from iothub.c2d.service import CloudToDevice


class DeviceSource:
    """Messages of one device, for its link (section 5.2; rows 28, 29)."""

    def __init__(self, c2d: CloudToDevice, device_id: str) -> None:
        self._c2d = c2d
        self._device_id = device_id

    def attach(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Listens."""
        return self._c2d.attach(self._device_id, wake)

    async def take(self) -> Taken | None:
        """The next message, locked."""
        delivery = await self._c2d.take(self._device_id)
        return None if delivery is None else Taken(delivery.lock_token, encode_delivery(delivery))

    async def settle(self, token: UUID, outcome: OutcomeKind) -> None:
        """Accepted is complete, rejected is reject, released and modified are abandon.

        :raises HubError: 412002.
        """
        if outcome == "accepted":
            await self._c2d.complete(self._device_id, token)
        elif outcome == "rejected":
            await self._c2d.reject(self._device_id, token)
        elif outcome == "settled":
            self._c2d.release(self._device_id, [token])
        else:
            await self._c2d.abandon(self._device_id, token)

    def release(self, tokens: list[UUID]) -> None:
        """The link is gone."""
        self._c2d.release(self._device_id, tokens)


class FeedbackSource:
    """Feedback for one reader."""

    def __init__(self, feedback: Feedback, hub_name: str) -> None:
        self._feedback = feedback
        self._hub_name = hub_name
        self._releases: set[asyncio.Task[None]] = set()

    def attach(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Listens."""
        return self._feedback.attach(wake)

    async def take(self) -> Taken | None:
        """The next batch, locked."""
        batch = await self._feedback.take()
        return None if batch is None else Taken(batch.lock_token, encode_feedback(batch, self._hub_name))

    async def settle(self, token: UUID, outcome: OutcomeKind) -> None:
        """Accepted is complete, everything else is abandon.

        :raises HubError: 412002.
        """
        if outcome == "accepted":
            await self._feedback.complete(token)
        else:
            await self._feedback.abandon(token)

    def release(self, tokens: list[UUID]) -> None:
        """The link is gone."""
        for token in tokens:
            task = asyncio.get_running_loop().create_task(self._feedback.release(token))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)


class ServiceMessages:
    """Service to hub: messages for devices. A message is accepted when it is stored."""

    def __init__(self, link: AmqpLink, c2d: CloudToDevice, enqueue: Enqueue) -> None:
        self._link = link
        self._c2d = c2d
        self._enqueue = enqueue

    def on_message(self, event: Received) -> None:
        """Queues the message; the link's credit bounds how many."""
        self._enqueue(self._send(event.delivery, event.payload))

    async def _send(self, delivery: AmqpDelivery, payload: bytes) -> None:
        try:
            await self._c2d.send(*read_service_message(payload))
        except HubError as error:
            delivery.reject(error.fault())
        else:
            delivery.accept()
        self._link.grant(1)

    def on_credit(self) -> None:
        """Nothing waits for credit."""

    def on_closed(self) -> None:
        """Nothing to clean up."""
