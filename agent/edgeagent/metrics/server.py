"""The metrics port: the page for Prometheus, and `/healthz` for supervisors (agent spec 6.1)."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

# From where they are made: `aiohttp.web` would bring a megabyte of what is not needed here.
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_response import Response, StreamResponse, json_response
from aiohttp.web_server import Server

from edgeagent.metrics.errors import MetricsListenError
from edgeagent.metrics.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web_request import BaseRequest

CONNECTIONS_MAX = 16
"""Further ones are closed at once."""
CONNECTION_S_MAX = 30.0
"""Each connection is closed after its answer, and after this time in any case: who is slow or silent takes
nobody's place for long."""
BACKLOG = 16
STOP_WAIT_S = 2.0
ALL_ADDRESSES = ("", "*", "+")

log = logging.getLogger(__name__)


class MetricsServer:
    """Serves two paths; everything else is 404.

    :param healthz: status and JSON body of `/healthz`.
    :param render: makes the page, None when metrics are switched off (`MetricsEnabled`).
    :param suffix: path of the page, with or without slashes around it.
    """

    def __init__(
        self,
        healthz: Callable[[], tuple[int, dict[str, str]]],
        render: Callable[[], bytes] | None,
        suffix: str = "metrics",
        connection_s_max: float = CONNECTION_S_MAX,
    ) -> None:
        self._healthz = healthz
        self._render = render
        self._path = f"/{suffix.strip('/')}"
        self._connection_s_max = connection_s_max
        self._http: _BoundedServer | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Opens the port and returns its number.

        :param host: `*` for all addresses.
        :param port: 0 for any free one.
        :raises MetricsListenError: the address is in use or not ours.
        """
        try:
            listening = _listening_socket("" if host in ALL_ADDRESSES else host, port)
        except OSError as fault:
            why = fault.strerror or str(fault)
            raise MetricsListenError(f"the metrics port {host}:{port} cannot be opened: {why}") from None
        bound: int = listening.getsockname()[1]
        self._http = _BoundedServer(self._answer, self._connection_s_max)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._http, sock=listening, backlog=BACKLOG)
        except BaseException:
            listening.close()
            raise
        return bound

    async def stop(self) -> None:
        """Closes the port and all connections. Idempotent."""
        listener, self._listener = self._listener, None
        http, self._http = self._http, None
        if listener is not None:
            listener.close()
        if http is not None:
            await http.shutdown(STOP_WAIT_S)

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        response = self._response(request.method, request.path)
        response.force_close()
        return response

    def _response(self, method: str, path: str) -> Response:
        pages = {"/healthz": self._health_page}
        if self._render is not None:
            pages.setdefault(self._path, self._metrics_page)
        page = pages.get(path if path == "/" else path.rstrip("/"))
        if page is None:
            return Response(status=404, text="not found\n")
        if method not in ("GET", "HEAD"):
            return Response(status=405, text="only GET\n", headers={"Allow": "GET, HEAD"})
        return page()

    def _health_page(self) -> Response:
        status, body = self._healthz()
        return json_response(body, status=status)

    def _metrics_page(self) -> Response:
        assert self._render is not None
        try:
            page = self._render()
        except Exception:
            log.exception("the metrics cannot be shown")
            return Response(status=500, text="internal error; the log of the agent says more\n")
        return Response(body=page, headers={"Content-Type": CONTENT_TYPE})


class _Connection(RequestHandler):
    """Has so long, and no longer."""

    __slots__ = ("_end",)

    def limit(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().call_later(seconds, self.force_close)

    def unlimit(self) -> None:
        self._end.cancel()


class _BoundedServer(Server):
    """Counts connections, and closes those beyond the limit."""

    def __init__(self, handler: Any, connection_s_max: float) -> None:
        self._options: dict[str, Any] = {"access_log": None, "lingering_time": 0, "auto_decompress": False}
        super().__init__(handler, **self._options)
        self._connection_s_max = connection_s_max
        self._open: set[RequestHandler] = set()

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._open) >= CONNECTIONS_MAX:
            log.debug("more than %d connections to the metrics port", CONNECTIONS_MAX)
            handler.force_close()
            return
        assert isinstance(handler, _Connection)
        handler.limit(self._connection_s_max)
        self._open.add(handler)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        if handler in self._open:
            self._open.discard(handler)
            assert isinstance(handler, _Connection)
            handler.unlimit()
        super().connection_lost(handler, exc)


def _listening_socket(host: str, port: int) -> socket.socket:
    """:raises OSError: it cannot be had."""
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
        except OSError as fault:
            log.debug("no IPv6 for the metrics port: %s", fault)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
