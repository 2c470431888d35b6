"""Cloud-to-device messages for clients on MQTT: QoS 1, and PUBACK is complete (section 5.2; row 54).

There is neither reject nor abandon. What is not acknowledged when a connection ends is handed out again, to
whatever connection the device has then.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgehub.common.publishing import publish_to_first
from edgehub.protocol.cloud_messages import cloud_topic, read_cloud_message
from edgehub.protocol.topics import base_topics
from iothub.amqp.c2d_messages import encode_delivery
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.ids import IdentityId
    from iothub.c2d.model import Delivery
    from iothub.c2d.service import CloudToDevice

WINDOW_MAX: Final = 32
"""Messages on their way to one device; the others wait in its queue. The engine has 64 places for what it has
to tell the end of."""
RETRY_S: Final = 5.0
"""How long a device is left alone that does not read, or has no filter that fits."""

log = logging.getLogger(__name__)


class CloudOutbox:
    """One device that is connected and listens.

    :param send: publishes to it: identity, topic, payload and time of creation; gives the outcome of
        `SendDoneEvent`, None if it is not connected any more.
    """

    def __init__(
        self,
        c2d: CloudToDevice,
        identity: IdentityId,
        send: Callable[[IdentityId, str, bytes, int | None], asyncio.Future[str] | None],
    ) -> None:
        self._c2d = c2d
        self._identity = identity
        self._send = send
        self._on_way: set[asyncio.Task[None]] = set()
        self._more = True
        self._paused = False
        self._closed = False
        self._taking: asyncio.Task[None] | None = None
        self._detach = c2d.attach(identity.device_id, self._wake)
        self._take_soon()

    def close(self) -> None:
        """It takes no more. What is on its way still has an end, which the engine tells."""
        self._closed = True
        self._detach()

    def _wake(self) -> None:
        self._more = True
        self._take_soon()

    def _take_soon(self) -> None:
        if self._taking is None and self._may_take():
            self._taking = asyncio.create_task(self._take())

    def _may_take(self) -> bool:
        return self._more and not self._closed and not self._paused and len(self._on_way) < WINDOW_MAX

    async def _take(self) -> None:
        try:
            while self._may_take():
                self._more = False
                delivery = await self._c2d.take(self._identity.device_id)
                if delivery is not None:
                    self._more = True
                    self._begin(delivery)
        except HubError as error:
            log.warning("Messages of %s cannot be handed out: %s", self._identity, error)
            self._pause()
        except Exception:
            log.exception("Messages of %s cannot be handed out", self._identity)
            self._pause()
        finally:
            self._taking = None

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery))
        self._on_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._on_way.discard(task)
        self._take_soon()

    async def _deliver(self, delivery: Delivery) -> None:
        outcome = "closed" if self._closed else await self._publish(delivery)
        device_id, token = delivery.device_id, delivery.lock_token
        try:
            if outcome in ("acked", "sent"):
                await self._c2d.complete(device_id, token)
            elif outcome == "not_encodable":
                log.warning("A message for %s is rejected: its topic would be too long", self._identity)
                await self._c2d.reject(device_id, token)
            else:
                if outcome != "closed":
                    self._pause()
                self._c2d.release(device_id, [token])
        except HubError as error:
            if error.code is ErrorCode.DeviceMessageLockLost:
                log.info("The end of a message for %s came too late: %s", self._identity, error)
            else:
                # Its lock ends by itself, and it is handed out again.
                log.warning("The end of a message for %s is not stored: %s", self._identity, error)
        except Exception:
            log.exception("The end of a message for %s is not stored", self._identity)

    async def _publish(self, delivery: Delivery) -> str:
        """In the spelling of the topic that the client subscribed to."""
        message = read_cloud_message(encode_delivery(delivery))
        topics = (cloud_topic(base, message) for base in base_topics(self._identity))
        return await publish_to_first(
            topics, lambda topic: self._send(self._identity, topic, message.payload, None)
        )

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            asyncio.get_running_loop().call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._wake()
