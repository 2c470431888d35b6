"""Tailing telemetry over HTTPS, our own endpoint: `GET /telemetry?from=...` answers JSON lines until the
client leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from iothub import jsonio
from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.policies import Permission
from iothub.telemetry.event import Chunk, event_view, events_of

if TYPE_CHECKING:
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router

IDLE_SECS: Final = 15.0
"""An empty line this often, so that a client that left is noticed and one that stays knows we are there."""


class TelemetryApi:
    """Handler for `/telemetry`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._tails: set[asyncio.Task[None] | None] = set()
        self._stopping = False

    def add_to(self, router: Router) -> None:
        """Registers the handler."""
        router.add("GET", "/telemetry", self.tail)

    def stop(self) -> None:
        """Ends the streams."""
        self._stopping = True
        for task in self._tails:
            if task is not None:
                task.cancel()

    async def tail(self, call: Call) -> web.StreamResponse:
        """Streams events from a position; query: `from` = `earliest`, `latest` or a number; `device`;
        `count`."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        query = call.request.query
        start = self._start(query.get("from", "latest"))
        device = query.get("device") or None
        count = _number(query.get("count"), "count")
        if len(self._tails) >= self._services.limits.tails_max or self._stopping:
            raise HubError(ErrorCode.ThrottlingException, f"{len(self._tails)} telemetry streams are open.")
        task = asyncio.current_task()
        self._tails.add(task)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await response.prepare(call.request)
            await self._stream(response, start, device, count)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except ConnectionError:
            pass  # the client left
        finally:
            self._tails.discard(task)
        return response

    def _start(self, text: str) -> int:
        if text == "latest":
            return self._services.telemetry.log.next_sequence
        if text == "earliest":
            return 0
        number = _number(text, "from")
        return 0 if number is None else number

    async def _stream(
        self, response: web.StreamResponse, start: int, device: str | None, count: int | None
    ) -> None:
        left = count
        async for chunks in self._services.telemetry.tail(start, IDLE_SECS):
            lines = [b"\n"] if not chunks else _lines(chunks, start, device)
            if left is not None and chunks:
                lines = lines[:left]
                left -= len(lines)
            if lines:
                await response.write(b"".join(lines))
            if left == 0:
                break
        await response.write_eof()


def _lines(chunks: list[Chunk], start: int, device: str | None) -> list[bytes]:
    wanted = (chunk for chunk in chunks if device is None or chunk.origin.device_id == device)
    events = (event for chunk in wanted for event in events_of(chunk) if event.sequence >= start)
    return [jsonio.encode(event_view(event)) + b"\n" for event in events]


def _number(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argument_invalid(f"{name} must be a whole number, not {text[:40]!r}.")
    return int(text)
