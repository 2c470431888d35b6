"""Where MQTT at IoT Hub differs from MQTT at a gateway (section 1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from edgehub.heads.backend import MqttRules
from edgehub.protocol.topics import SubscriptionKind, classify_filter

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId

KEEP_ALIVE_MAX_MS: Final = 1_767_000
"""Longest silence of a client, whatever keep alive it asked for (row 61)."""
WILL_PROPERTY: Final = "iothub-MessageType"
"""Has the value `Will` in a last will (row 53)."""
PACKET_BYTES_MAX: Final = 262_144
MESSAGE_BYTES_MAX: Final = PACKET_BYTES_MAX + 4096
"""With the properties that are added, names of sender and hub among them: whatever fits a packet fits."""
AUTH_WAITS_MAX: Final = 1000
"""As many as connections without session: each may be looked up."""
_OWN_TOPICS: Final = (SubscriptionKind.CLOUD_TO_DEVICE, SubscriptionKind.MODULE_MESSAGES)


def may_subscribe(identity: IdentityId, topic_filter: str) -> bool:
    """Whether a client may have a filter: one of the kinds that are served, and below no other identity."""
    kind = classify_filter(topic_filter)
    if kind is SubscriptionKind.MODULE_MESSAGES and not identity.is_module:
        return False
    if kind in _OWN_TOPICS:
        base = _base(identity)
        # SDKs percent-encode ids, and an id may have a percent sign of its own.
        return topic_filter.startswith(base) or unquote(topic_filter).startswith(base)
    return kind is not SubscriptionKind.UNKNOWN


def _base(identity: IdentityId) -> str:
    module = f"modules/{identity.module_id}/" if identity.module_id is not None else ""
    return f"devices/{identity.device_id}/{module}"


HUB_RULES: Final = MqttRules(
    auth_waits_max=AUTH_WAITS_MAX,
    bare_usernames=True,
    may_subscribe=may_subscribe,
    method_qos=0,
)
