"""The HTTP head: one HTTPS port for the REST routes and for protocols over WebSocket (heads spec 3).

The rules of every answer stand here: `nosniff`, an empty body where nothing is said, 404 for what nobody
serves. Routes come from outside with `add_routes`, WebSocket upgrades go to one handler whatever their path.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp import web

from edgehub.errors import EdgehubError
from edgehub.heads.tls_listener import Connection, ListenError, TlsListener, server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

REQUEST_WAIT_S: Final = 60.0
"""Time a new connection has for its first request."""
KEEP_ALIVE_S: Final = 75.0
"""Time a connection may be silent between two requests."""
LINE_BYTES_MAX: Final = 8 * 1024
"""Longest first line of a request; ids of 128 characters, percent-encoded, take an eighth of it."""
FIELD_BYTES_MAX: Final = 16 * 1024
"""Longest header of a request: a token has at most 4,096 characters, a certificate some thousands."""
HEADERS_MAX: Final = 64
"""Headers of a request."""
BODY_BYTES_MAX: Final = 256 * 1024
"""Largest body of a request; a method's payload has at most half of it."""
CLOSE_WAIT_S: Final = 2.0
"""Longest wait for open requests at the end."""
ADVICE: Final = "choose another port with httpSettings__port, or none with httpSettings__enabled=false"

UpgradeHandler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
"""Answers a request to upgrade to a WebSocket."""

log = logging.getLogger(__name__)
WIRE_LOG: Final = logging.getLogger(f"{__name__}.wire")
"""For aiohttp, where handlers are guarded: what else it logs is whatever an outsider sends, a token in a
malformed header among it, with a traceback each. It goes nowhere."""
WIRE_LOG.setLevel(logging.CRITICAL + 1)


class HttpStartError(EdgehubError):
    """The HTTP head cannot start."""


class HttpHead:
    """The HTTPS port.

    :param connections_max: connections at once, WebSockets included; further ones wait in the kernel.
    :param tls_versions: `1.2`, `1.3` or both.
    :param on_upgrade: answers every request for a WebSocket; None: nobody does, they get 400.
    """

    def __init__(
        self,
        connections_max: int,
        tls_versions: Sequence[str] = ("1.2", "1.3"),
        on_upgrade: UpgradeHandler | None = None,
    ) -> None:
        self._tls_versions = tls_versions
        self._on_upgrade = on_upgrade
        self._app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        self._app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
            logger=WIRE_LOG,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            shutdown_timeout=CLOSE_WAIT_S,
        )
        self._listener = TlsListener(self._make_protocol, connections_max, REQUEST_WAIT_S)

    def add_routes(self, routes: Iterable[web.RouteDef]) -> None:
        """Serves more paths; before `start`."""
        self._app.add_routes(routes)

    def use_certificate(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Presents this certificate to the clients that connect from now on; the others stay connected.

        :raises CertificateError: it cannot be used; the one before stays.
        """
        self._listener.use(server_context(chain_pem, key_pem, self._tls_versions))

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the number of the port; a certificate has to be there.

        :param host: empty for all addresses.
        :raises HttpStartError: the address is in use, not ours, or not allowed.
        """
        await self._runner.setup()
        try:
            return self._listener.open(host, port)
        except ListenError as error:
            await self._runner.cleanup()
            raise HttpStartError(f"HTTP head: {error}; {ADVICE}") from None

    async def stop_accepting(self) -> None:
        """Closes the port; open connections live on. Idempotent."""
        await self._listener.close()

    async def close(self) -> None:
        """Closes the port and the connections. Idempotent."""
        await self._listener.close()
        await self._runner.cleanup()

    def _make_protocol(self) -> web.RequestHandler:
        server = self._runner.server
        assert server is not None
        return server()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        request_arrived(request)
        try:
            if _is_upgrade(request):
                return await self._upgrade(request)
            return await handler(request)
        except web.HTTPException as answer:
            # Of aiohttp's own answers, such as 404, only the status is wanted.
            return web.Response(status=answer.status, headers=_kept_headers(answer))
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("%s %.200s failed", request.method, request.path)
            return web.Response(status=500)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        if self._on_upgrade is None:
            return web.Response(status=400)
        return await self._on_upgrade(request)


def _is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def request_arrived(request: web.Request) -> None:
    """To be called first with every request that came through a `TlsListener`: its connection may stay."""
    if request.transport is not None:
        connection = request.transport.get_protocol()
        if isinstance(connection, Connection):
            connection.request_arrived()


def _kept_headers(answer: web.HTTPException) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("Allow", "Location") if name in answer.headers}


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"
