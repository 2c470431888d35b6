"""Makes the HTTP head from settings. Imported only when the head is enabled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edgehub.heads.http import HttpHead

if TYPE_CHECKING:
    from edgehub.config.settings import Settings
    from edgehub.heads.http import UpgradeHandler
    from edgehub.hub.certificates import ServerCertificate
    from edgehub.hub.ports import HubCore

CONNECTIONS_SPARE: Final = 100
"""HTTPS connections beyond `MaxConnectedClients`: those of REST callers, and those that are not yet clients.
Each costs some 50 KiB, so there are fewer of them than of plain MQTT connections."""

log = logging.getLogger("edgehub")


async def start_http_head(
    settings: Settings, core: HubCore, core_error: type[Exception], certificate: ServerCertificate
) -> tuple[HttpHead, int]:
    """The listening head and the number of its port.

    :raises EdgehubError: the certificate cannot be used, or the port cannot be opened.
    """
    head = HttpHead(settings.clients.clients_max + CONNECTIONS_SPARE, _upgrades(settings, core, core_error))
    head.use_certificate(certificate.chain_pem, certificate.key_pem)
    port = await head.start(settings.http.host, settings.http.port)
    log.info("HTTP head is listening on port %d (TLS)", port)
    return head, port


def _upgrades(settings: Settings, core: HubCore, core_error: type[Exception]) -> UpgradeHandler | None:
    """A hub without the MQTT head has no protocol to offer over WebSocket."""
    if not settings.mqtt.enabled:
        return None
    from edgehub.heads.websocket import MqttWebSockets  # noqa: PLC0415 - part of the MQTT head

    return MqttWebSockets(core.adopt, core_error, settings.mqtt.packet_bytes_max).serve
