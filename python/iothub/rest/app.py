"""The HTTPS server: one door for all requests that checks the version, routes, and turns errors into
answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from aiohttp import web

from edgehub.common.texts import is_utf8
from edgehub.heads.http import WIRE_LOG, request_arrived
from edgehub.heads.tls_listener import TlsListener
from iothub.auth import Authorizer, Principal, access_denied, unauthorized
from iothub.certificates import client_certificate
from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.rest.bulk_api import BulkApi
from iothub.rest.c2d_api import C2dApi
from iothub.rest.device_api import DeviceApi
from iothub.rest.method_api import MethodApi
from iothub.rest.on_behalf_api import OnBehalfApi
from iothub.rest.registry_api import RegistryApi, json_response
from iothub.rest.routing import Call, Router, check_api_version, path_of
from iothub.rest.scope_api import ScopeApi
from iothub.rest.telemetry_api import TelemetryApi
from iothub.rest.twin_api import TwinApi

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from edgehub.heads.http import UpgradeHandler
    from iothub.c2d.service import CloudToDevice
    from iothub.config import HubLimits
    from iothub.connections import ConnectionTable
    from iothub.methods.service import Methods
    from iothub.policies import Permission
    from iothub.registry.service import Registry
    from iothub.telemetry.tail import Telemetry
    from iothub.twins.service import Twins

log = logging.getLogger(__name__)

REQUEST_WAIT_S: Final = 60.0
"""Time a new connection has for its first request."""
SHUTDOWN_SECS: Final = 5.0
WEBSOCKET_PATH: Final = "/$iothub/websocket"
TEXT_HEADERS: Final = ("if-match", "iothub-")
"""How the names of headers begin whose values are kept."""


@dataclass
class RestServices:
    """What the handlers work with.

    :ivar clock: Unix time.
    """

    limits: HubLimits
    clock: Callable[[], float]
    authorizer: Authorizer
    registry: Registry
    twins: Twins
    methods: Methods
    c2d: CloudToDevice
    telemetry: Telemetry
    connections: ConnectionTable

    async def principal(self, request: web.Request) -> Principal:
        """Who asks.

        :raises HubError: 401003.
        """
        header = request.headers.get("Authorization")
        if not header:
            raise unauthorized("The Authorization header with a SharedAccessSignature is missing.")
        return await self.authorizer.principal(header)

    async def device_principal(self, request: web.Request, device_id: str) -> Principal:
        """Who asks as a device: by a token, or else by the certificate of its connection.

        :raises HubError: 401003, 403012, 404001.
        """
        certificate = client_certificate(request.transport)
        if request.headers.get("Authorization") or certificate is None:
            return await self.principal(request)
        return await self.authorizer.certificate_principal(certificate, device_id, None)

    async def require(self, request: web.Request, permission: Permission) -> Principal:
        """Who asks, if a policy grants this.

        :raises HubError: 401002, 401003.
        """
        principal = await self.principal(request)
        if not principal.may(permission, path_of(request.rel_url.raw_path)):
            raise access_denied(f"{principal.label} lacks the permission {permission.name}.")
        return principal


class RestServer:
    """The REST listener.

    :param on_upgrade: answers WebSockets of devices (section 1.6); None: there are none.
    """

    def __init__(self, services: RestServices, on_upgrade: UpgradeHandler | None = None) -> None:
        self._services = services
        self._on_upgrade = on_upgrade
        self._router = Router()
        self._telemetry_api = TelemetryApi(services)
        apis = (RegistryApi, BulkApi, TwinApi, MethodApi, C2dApi, ScopeApi, OnBehalfApi, DeviceApi)
        for api in (*(make(services) for make in apis), self._telemetry_api):
            api.add_to(self._router)
        self._runner: web.AppRunner | None = None
        self._listener = TlsListener(
            self._make_protocol, services.limits.https_connections_max, REQUEST_WAIT_S
        )
        self._serving = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Opens the listener; gives the port.

        :raises ListenError: the address cannot be bound.
        """
        app = web.Application(client_max_size=self._services.limits.http_body_bytes_max)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, logger=WIRE_LOG, shutdown_timeout=SHUTDOWN_SECS)
        await self._runner.setup()
        self._listener.use(tls)
        return self._listener.open(host, port)

    def _make_protocol(self) -> web.RequestHandler:
        assert self._runner is not None
        assert self._runner.server is not None
        return self._runner.server()

    async def stop(self) -> None:
        """Ends streams, finishes requests, closes."""
        self._telemetry_api.stop()
        await self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_arrived(request)
        try:
            if self._on_upgrade is not None and _is_device_websocket(request):
                # It stays for as long as the client does, so it is none of the requests that are counted.
                return await self._on_upgrade(request)
            return await self._serve_counted(request)
        except HubError as error:
            return self._error(error)
        except web.HTTPRequestEntityTooLarge:
            text = f"The body may have {self._services.limits.http_body_bytes_max} bytes."
            return self._error(HubError(ErrorCode.MessageTooLarge, text))
        except (ConnectionError, TimeoutError):
            raise  # the client is gone
        except Exception:
            log.exception("%s %.200s failed", request.method, request.path)
            return self._error(HubError(ErrorCode.ServerError, "The hub has a fault; its log says more."))

    async def _serve_counted(self, request: web.Request) -> web.StreamResponse:
        if self._serving >= self._services.limits.http_requests_max:
            raise HubError(ErrorCode.ThrottlingException, "Too many requests at the same time.")
        leave = self._enter()
        try:
            return await self._serve(request, leave)
        finally:
            leave()

    def _enter(self) -> Callable[[], None]:
        """Takes a place among the requests that are served; the returned function gives it back, once."""
        self._serving += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            self._serving -= inside
            inside = False

        return leave

    async def _serve(self, request: web.Request, leave: Callable[[], None]) -> web.StreamResponse:
        _check_headers(request)
        handler, ids = self._router.find(request.method, request.rel_url.raw_path)
        if request.rel_url.raw_path.strip("/").lower() != "telemetry":
            check_api_version(request.query.get("api-version"))
        return await handler(Call(request, ids, leave))

    def _error(self, error: HubError) -> web.Response:
        response = json_response(error.body(self._services.clock()))
        response.set_status(error.code.http_status)
        response.headers.update(error.headers())
        return response


def _check_headers(request: web.Request) -> None:
    """Those that are stored, or shown again, have to be text.

    :raises HubError: 400004.
    """
    for name, value in request.headers.items():
        if name.lower().startswith(TEXT_HEADERS) and not is_utf8(value):
            raise argument_invalid(f"{name} is not UTF-8 text.")


def _is_device_websocket(request: web.Request) -> bool:
    """The path may come percent-encoded (row 62)."""
    if request.headers.get("Upgrade", "").strip().lower() != "websocket":
        return False
    return unquote(request.rel_url.raw_path).rstrip("/").lower() == WEBSOCKET_PATH
