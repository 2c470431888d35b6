"""The ports of the heads, and the one server certificate behind them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgehub.hub.addresses import any_host
from edgehub.hub.certificates import CertificateError
from edgehub.hub.renewal import CertificateKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from aiohttp.web import RouteDef

    from edgehub.common.clock import Clock
    from edgehub.config.settings import Settings
    from edgehub.heads.forwarded import ForwardedCertificates
    from edgehub.heads.http import HttpHead, UpgradeHandler
    from edgehub.hub.certificates import Certificates, ServerCertificate
    from edgehub.hub.ports import HubCore

HTTP_CONNECTIONS_SPARE: Final = 100
"""HTTPS connections beyond `MaxConnectedClients`: those of REST callers, and those that are not yet clients.
Each costs some 50 KiB, so there are fewer of them than of plain MQTT connections."""

log = logging.getLogger("edgehub")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the heads listen; 0 for not at all."""

    mqtt: int = 0
    mqtt_plain: int = 0
    http: int = 0


class Listeners:
    """Opens and closes the ports.

    :param core_error: root of the core's errors.
    :param make_routes: makes what the HTTP head serves beside WebSockets; called only for such a head.
    :param forwarded: reads certificates that a proxy passes on; None: they are not looked at.
    """

    def __init__(
        self,
        settings: Settings,
        core: HubCore,
        core_error: type[Exception],
        certificates: Certificates,
        clock: Clock,
        make_routes: Callable[[], Iterable[RouteDef]],
        forwarded: ForwardedCertificates | None = None,
    ) -> None:
        self._forwarded = forwarded
        self._make_routes = make_routes
        self._settings = settings
        self._core = core
        self._core_error = core_error
        self._keeper = CertificateKeeper(
            certificates, clock, settings.clients.certificate_renew_after_ms, self._replace_certificate
        )
        self._numbers: list[int] = []
        self._tls: int | None = None
        self._http: HttpHead | None = None

    async def open(self) -> Ports:
        """Opens the ports of all enabled heads.

        :raises EdgehubError: a certificate cannot be used, or the HTTP port cannot be opened. The core raises
            its own errors for the MQTT ports.
        """
        settings = self._settings
        if not settings.mqtt.enabled and not settings.http.enabled:
            return Ports()
        certificate = await self._keeper.first()
        mqtt, plain = self._open_mqtt(certificate) if settings.mqtt.enabled else (0, 0)
        http = await self._open_http(certificate) if settings.http.enabled else 0
        return Ports(mqtt, plain, http)

    def _open_mqtt(self, certificate: ServerCertificate | None) -> tuple[int, int]:
        mqtt, clients = self._settings.mqtt, self._settings.clients
        port = plain_port = 0
        if certificate is not None:
            self._tls, port = self._core.listen(
                mqtt.host or any_host(),
                mqtt.port,
                certificate.chain_pem,
                certificate.key_pem,
                tls_versions=clients.tls_versions,
                client_certificates=clients.client_certificates,
            )
            self._numbers.append(self._tls)
            log.info("MQTT head is listening on port %d (TLS)", port)
        if mqtt.plain_port is not None:
            number, plain_port = self._core.listen("127.0.0.1", mqtt.plain_port)
            self._numbers.append(number)
            log.warning("MQTT head is listening on 127.0.0.1:%d without TLS", plain_port)
        return port, plain_port

    async def _open_http(self, certificate: ServerCertificate | None) -> int:
        if certificate is None:
            log.warning("The HTTP head does not listen: there is no server certificate")
            return 0
        from edgehub.heads.http import HttpHead  # noqa: PLC0415 - a hub without the head loads none of it

        settings, http = self._settings, self._settings.http
        connections_max = settings.clients.clients_max + HTTP_CONNECTIONS_SPARE
        head = HttpHead(connections_max, settings.clients.tls_versions, self._upgrades())
        head.add_routes(self._make_routes())
        head.use_certificate(certificate.chain_pem, certificate.key_pem)
        port = await head.start(http.host, http.port)
        self._http = head
        log.info("HTTP head is listening on port %d (TLS)", port)
        return port

    def _upgrades(self) -> UpgradeHandler | None:
        """A hub without the MQTT head has no protocol to offer over WebSocket."""
        mqtt = self._settings.mqtt
        if not mqtt.enabled:
            return None
        from edgehub.heads.websocket import MqttWebSockets  # noqa: PLC0415 - part of the MQTT head

        adopt, error = self._core.adopt, self._core_error
        return MqttWebSockets(adopt, error, mqtt.packet_bytes_max, self._forwarded).serve

    # The certificate

    def keep_certificate(self) -> Coroutine[Any, Any, None] | None:
        """The job that keeps the certificate up to date, if a port uses it."""
        return self._keeper.run() if self._tls is not None or self._http is not None else None

    def renew_certificate(self) -> None:
        """Reads or issues the certificate anew, soon."""
        self._keeper.renew_now()

    def _replace_certificate(self, certificate: ServerCertificate) -> None:
        """Puts a certificate in force on all ports, or on none.

        :raises CertificateError: it cannot be used.
        """
        if self._tls is not None:
            try:
                self._core.set_tls(self._tls, certificate.chain_pem, certificate.key_pem)
            except self._core_error as error:
                raise CertificateError(str(error)) from None
        if self._http is not None:
            self._http.use_certificate(certificate.chain_pem, certificate.key_pem)

    # The end

    async def stop_accepting(self) -> None:
        """Closes the ports; connections live on. Once."""
        for number in self._numbers:
            self._core.close_listener(number)
        self._numbers.clear()
        if self._http is not None:
            await self._http.stop_accepting()

    async def close(self) -> None:
        """Ends the HTTP head; after the core has closed the sessions, so that no will of a WebSocket client
        is published. Idempotent."""
        if self._http is not None:
            await self._http.close()
