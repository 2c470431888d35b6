"""Names in AMQP messages between hubs, the same at both ends (iothub spec 1.4.5 to 1.4.7)."""

from __future__ import annotations

from typing import Final

DESIRED_RESOURCE: Final = "/notifications/twin/properties/desired"
REPORTED_RESOURCE: Final = "/properties/reported"
METHOD_NAME: Final = "IoThub-methodname"
METHOD_STATUS: Final = "IoThub-status"
LOCK_TOKEN: Final = "x-opt-lock-token"
SEQUENCE_NUMBER: Final = "x-opt-sequence-number"
ENQUEUED_TIME: Final = "iothub-enqueuedtime"
DELIVERY_COUNT: Final = "iothub-deliverycount"
ACK: Final = "iothub-ack"
