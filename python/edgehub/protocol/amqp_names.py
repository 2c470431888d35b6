"""Names in AMQP messages of twins and direct methods, the same at both ends (iothub spec 1.4.6, 1.4.7)."""

from __future__ import annotations

from typing import Final

DESIRED_RESOURCE: Final = "/notifications/twin/properties/desired"
REPORTED_RESOURCE: Final = "/properties/reported"
METHOD_NAME: Final = "IoThub-methodname"
METHOD_STATUS: Final = "IoThub-status"
