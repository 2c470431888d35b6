"""The metrics port: `/metrics` for Prometheus and `/healthz` for supervisors, in plain HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from edgehub.common.listening import listen_on
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.metrics.health import Health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


class MetricsListenError(EdgehubError):
    """The metrics port cannot be opened."""


class MetricsServer:
    """Serves two paths; everything else is 404.

    :param render: makes the exposition text, or None when metrics are switched off.
    """

    def __init__(self, health: Health, render: Callable[[], bytes] | None) -> None:
        self._health = health
        self._render = render
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Opens the port and returns its number.

        :param host: empty for all addresses.
        :raises MetricsListenError: the address is in use or not ours.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        if self._render is not None:
            app.router.add_get("/metrics", self._metrics)
        # Access lines are noise: supervisors ask every few seconds.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            listener = listen_on(host, port)
        except OSError as error:
            await self.stop()
            shown = f"{host or '*'}:{port}"
            raise MetricsListenError(f"cannot open the metrics port {shown}: {error.strerror}") from None
        await web.SockSite(self._runner, listener).start()
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the port. Idempotent."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        status, body = self._health.answer()
        return web.json_response(body, status=status)

    async def _metrics(self, request: web.Request) -> web.Response:
        assert self._render is not None
        try:
            text = self._render()
        except EdgehubError as error:
            log.error("Metrics cannot be read: %s", error)
            return web.Response(status=500, text=f"{error}\n")
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
