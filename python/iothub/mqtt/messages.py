"""Cloud-to-device messages to a client on MQTT (section 5.2; row 54).

PUBACK completes a message; a client that leaves gives back what it did not acknowledge.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgehub.protocol.cloud_messages import cloud_topic, read_cloud_message
from edgehub.protocol.topics import base_topics
from iothub.amqp.c2d_messages import encode_delivery
from iothub.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.ids import IdentityId
    from iothub.c2d.model import Delivery
    from iothub.c2d.service import CloudToDevice

WINDOW: Final = 10
"""Messages on their way to one client; the next waits in its queue."""
BUSY_S: Final = 5.0
"""A client that does not read, or whose filter is for somebody else, is left alone for so long."""

log = logging.getLogger(__name__)


class DeviceMessages:
    """One client's messages, from when it subscribes until `stop`.

    :param send: publishes to the client: topic, payload and time of creation (None: now); gives the outcome
        of `SendDoneEvent`, None if the client is gone.
    """

    def __init__(
        self,
        identity: IdentityId,
        c2d: CloudToDevice,
        send: Callable[[IdentityId, str, bytes, int | None], asyncio.Future[str] | None],
    ) -> None:
        self._identity = identity
        self._c2d = c2d
        self._send = send
        self._wake = asyncio.Event()
        self._wake.set()
        self._stopped = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._detach = c2d.attach(identity.device_id, self._wake.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """The client takes no more; what it did not acknowledge is given back when its connection ends."""
        self._stopped = True
        self._detach()
        self._wake.set()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                await self._wake.wait()
                self._wake.clear()
                await self._hand_out()
        except Exception:
            log.exception("Messages of %s cannot be handed out", self._identity)
            self.stop()

    async def _hand_out(self) -> None:
        """As many as there are and fit into the window."""
        while not self._stopped and len(self._under_way) < WINDOW:
            delivery = await self._c2d.take(self._identity.device_id)
            if delivery is None:
                return
            if self._stopped:
                self._give_back(delivery)
                return
            # The first publish is made here, so that messages keep their order.
            sent = self._publish(delivery, 0)
            task = asyncio.get_running_loop().create_task(self._settle(delivery, sent))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()

    def _publish(self, delivery: Delivery, spelling: int) -> asyncio.Future[str] | None:
        base = base_topics(self._identity)[spelling]
        message = read_cloud_message(encode_delivery(delivery))
        return self._send(self._identity, cloud_topic(base, message), message.payload, None)

    async def _settle(self, delivery: Delivery, sent: asyncio.Future[str] | None) -> None:
        outcome = "closed" if sent is None else await sent
        if outcome == "no_subscription" and len(base_topics(self._identity)) > 1:
            sent = self._publish(delivery, 1)
            outcome = "closed" if sent is None else await sent
        if outcome == "closed":
            self.stop()
        elif outcome in ("overflow", "no_subscription"):
            await asyncio.sleep(BUSY_S)
        device_id, token = self._identity.device_id, delivery.lock_token
        try:
            if outcome in ("acked", "sent"):
                await self._c2d.complete(device_id, token)
            elif outcome in ("closed", "overflow", "no_subscription"):
                self._give_back(delivery)
            else:
                log.warning("Device %s: a message is rejected: %s", self._identity, outcome)
                await self._c2d.reject(device_id, token)
        except HubError as error:
            log.info("Device %s: %s came too late: %s", self._identity, outcome, error)

    def _give_back(self, delivery: Delivery) -> None:
        self._c2d.release(self._identity.device_id, [delivery.lock_token])
