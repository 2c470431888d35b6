"""Settings of the link, built once at the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from edgeagent.link.errors import LinkSettingsError
from edgeagent.model.module import EDGE_AGENT

API_VERSION: Final = "2021-04-12"
MODULE_ID: Final = f"${EDGE_AGENT}"
TOKEN_LIFE_S_MIN: Final = 5.0
TOKEN_USE_S_MIN: Final = 0.1


class UpstreamProtocol(StrEnum):
    """Setting `UpstreamProtocol`, as far as it is spoken."""

    MQTT = "Mqtt"
    MQTT_WS = "MqttWs"


_BOTH: Final = (UpstreamProtocol.MQTT, UpstreamProtocol.MQTT_WS)
_INSTEAD: Final = {"amqp": UpstreamProtocol.MQTT, "amqpws": UpstreamProtocol.MQTT_WS}


@dataclass(frozen=True, slots=True)
class ProtocolChoice:
    """What to speak.

    :ivar protocols: tried in turn as long as the hub cannot be reached.
    :ivar note: to be logged once; empty when all is as asked for.
    """

    protocols: tuple[UpstreamProtocol, ...]
    note: str = ""


def choose_protocols(text: str | None) -> ProtocolChoice:
    """Reads the setting `UpstreamProtocol` (agent spec 4); its case does not matter.

    AMQP is not spoken: its names mean MQTT over the same kind of transport. Without the setting MQTT is tried
    first, then MQTT over WebSocket, as the reference does with AMQP.

    :raises LinkSettingsError: another name.
    """
    name = (text or "").strip().lower()
    if not name:
        return ProtocolChoice(_BOTH)
    for protocol in UpstreamProtocol:
        if name == protocol.value.lower():
            return ProtocolChoice((protocol,))
    if name in _INSTEAD:
        chosen = _INSTEAD[name]
        return ProtocolChoice(
            (chosen,), f"UpstreamProtocol {text} is not spoken here; {chosen} is used instead"
        )
    raise LinkSettingsError(f'UpstreamProtocol "{text}" is not one of Mqtt, MqttWs, Amqp, AmqpWs')


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How to reach the upstream hub, and as whom.

    :ivar host: where to connect: the hub, or the parent edge device when nested.
    :ivar hub_hostname: host name of the hub, for the user name and in tokens.
    :ivar device_id: this device.
    :ivar protocols: of :func:`choose_protocols`.
    :ivar product_info: told to the hub at every connection.
    :ivar trust_pem: roots in PEM that are trusted beside those of the system; empty for none.
    :ivar proxy: `http://[user:password@]host:port`, used with WebSocket alone; empty for none.
    :ivar token_life_s: life of a token.
    :ivar renew_before_s: how long before its end the token is replaced, which takes a new connection.
    :ivar keep_alive_s: a silent hub is asked for a sign of life after this time, and given up after twice.
    :ivar connect_s: from the beginning of a connection to the last subscription.
    :ivar request_s: for the answer to one request.
    :ivar method_s: for one direct method (`RequestTimeoutSecs`).
    """

    host: str
    hub_hostname: str
    device_id: str
    protocols: tuple[UpstreamProtocol, ...] = _BOTH
    mqtt_port: int = 8883
    websocket_port: int = 443
    product_info: str = "EdgeAgent"
    trust_pem: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    token_life_s: float = 3600.0
    renew_before_s: float = 300.0
    keep_alive_s: int = 60
    connect_s: float = 30.0
    request_s: float = 30.0
    method_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("host", "hub_hostname", "device_id"):
            if not getattr(self, name).strip():
                raise LinkSettingsError(f"{name} must not be blank")
        if not self.protocols:
            raise LinkSettingsError("protocols must name at least one")
        used_s = self.token_life_s - self.renew_before_s
        if self.token_life_s < TOKEN_LIFE_S_MIN or self.renew_before_s <= 0 or used_s < TOKEN_USE_S_MIN:
            raise LinkSettingsError(
                f"token_life_s must be {TOKEN_LIFE_S_MIN:.0f} or more, renew_before_s above 0 and at least"
                f" {TOKEN_USE_S_MIN} below it"
            )

    def port(self, protocol: UpstreamProtocol) -> int:
        """Port to connect to."""
        return self.mqtt_port if protocol is UpstreamProtocol.MQTT else self.websocket_port

    @property
    def client_id(self) -> str:
        """Client id of MQTT."""
        return f"{self.device_id}/{MODULE_ID}"

    @property
    def user_name(self) -> str:
        """User name of MQTT."""
        client_type = quote(self.product_info, safe="")
        properties = f"api-version={API_VERSION}&DeviceClientType={client_type}"
        return f"{self.hub_hostname}/{self.client_id}/?{properties}"

    @property
    def audience(self) -> str:
        """What tokens are for."""
        return f"{self.hub_hostname}/devices/{self.device_id}/modules/{MODULE_ID}"
