"""HTTP/1.1 on a unix socket: reads a request whole, has it answered, with the limits of agent spec 7.1."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

# From where they are made: `aiohttp.web` would bring megabytes of what is not needed here.
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from edgeagent.errors import AgentError
from edgeagent.workload.errors import RequestRefused
from edgeagent.workload.http import Answer, Request, StreamAnswer, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiohttp.web_request import BaseRequest

BODY_WAIT_S = 5.0
IDLE_WAIT_S = 60.0
"""A connection without a request is closed after this time."""

WRITE_WAIT_S = 600.0
"""A client that takes nothing of a stream for this time is given up."""

STOP_WAIT_S = 2.0
BACKLOG = 32

log = logging.getLogger(__name__)


class UnixHttpServer:
    """A server on one socket.

    :param mode: permissions of the socket file.
    :param connections_max: connections at once; others are closed without an answer (row W25).
    :param body_bytes_max: longer bodies are refused with 413.
    :param body_wait_s: bodies that take longer are refused with 408.
    :param cancels: whether work for a client that went away is cancelled.
    """

    def __init__(
        self,
        path: Path,
        answer: Callable[[Request], Awaitable[Answer | StreamAnswer]],
        *,
        mode: int,
        connections_max: int,
        body_bytes_max: int,
        body_wait_s: float = BODY_WAIT_S,
        cancels: bool = False,
    ) -> None:
        self.path = path
        self._answer = answer
        self._mode = mode
        self._connections_max = connections_max
        self._body_bytes_max = body_bytes_max
        self._body_wait_s = body_wait_s
        self._cancels = cancels
        self._http: _LimitedServer | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens, in the place of a socket that an earlier process left.

        :raises OSError: the socket cannot be made.
        """
        self._http = _LimitedServer(
            self._handle,
            connections_max=self._connections_max,
            name=str(self.path),
            cancels=self._cancels,
            access_log=None,
            keepalive_timeout=IDLE_WAIT_S,
            lingering_time=0,
            auto_decompress=False,
        )
        listening = _listening_socket(self.path, self._mode)
        try:
            self._listener = await asyncio.get_running_loop().create_unix_server(
                self._http, sock=listening, backlog=BACKLOG
            )
        except BaseException:
            listening.close()
            raise

    async def close(self, *, remove: bool = False) -> None:
        """Ends all connections; what is being answered has a moment to finish.

        :param remove: take the socket file away too.
        """
        if self._listener is not None:
            self._listener.close()
        if remove:
            self.path.unlink(missing_ok=True)
        if self._http is not None:
            await self._http.shutdown(STOP_WAIT_S)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        try:
            body = await self._body(request)
        except RequestRefused as refused:
            response = _response(refusal(refused.status, str(refused)))
            # The rest of the body is still on its way; nobody will read it.
            response.force_close()
            return response
        target, content_type = request.raw_path, request.headers.get("Content-Type")
        try:
            answer = await self._answer(Request(request.method, target, content_type, body))
        except Exception:
            log.exception("%s: %s failed", self.path, request.method)
            return _response(refusal(500, "internal error; the log of the service says more"))
        return await self._stream(request, answer) if isinstance(answer, StreamAnswer) else _response(answer)

    async def _stream(self, request: BaseRequest, answer: StreamAnswer) -> StreamResponse:
        """Passes pieces on as they come. When they break off so does the connection, as that is all that can
        be said by then.
        """
        response = StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        try:
            await response.prepare(request)
            async for piece in answer.pieces:
                async with asyncio.timeout(WRITE_WAIT_S):
                    await response.write(piece)
            await response.write_eof()
        except (OSError, AgentError, TimeoutError) as error:
            log.debug("%s: a stream broke off: %s", self.path, error)
            if request.transport is not None:
                request.transport.abort()
        finally:
            await answer.release()
        return response

    async def _body(self, request: BaseRequest) -> bytes:
        """:raises RequestRefused: 413 too long, 408 too slow, 400 broken."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_wait_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > self._body_bytes_max:
                        raise RequestRefused(413, f"request body is longer than {self._body_bytes_max} bytes")
        except TimeoutError:
            raise RequestRefused(408, f"request body took longer than {self._body_wait_s:g} s") from None
        except (RequestPayloadError, ConnectionError) as error:
            raise RequestRefused(400, f"request body cannot be read: {error}") from None
        return bytes(body)


class _Connection(RequestHandler):
    """Answers what is not HTTP as all other errors, and without a trace in the log for each."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        if status >= 500:
            log.error("a request failed: %r", exc)
        short = (message or "bad request").partition("\n")[0]
        response = _response(refusal(status, short))
        response.force_close()
        return response


class _LimitedServer(Server):
    """Counts connections, and closes those beyond the limit."""

    def __init__(
        self, handler: Any, *, connections_max: int, name: str, cancels: bool, **options: Any
    ) -> None:
        super().__init__(handler, handler_cancellation=cancels, **options)
        self._options = options
        self._connections_max = connections_max
        self._name = name
        self._open: set[RequestHandler] = set()

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._open) >= self._connections_max:
            log.warning(
                "%s: Maximum concurrency reached, %d simultaneous connections, "
                "dropping the connection request",
                self._name,
                self._connections_max,
            )
            handler.force_close()
            return
        self._open.add(handler)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._open.discard(handler)
        super().connection_lost(handler, exc)


def _response(answer: Answer) -> Response:
    content_type = "application/json" if answer.content is not None else None
    return Response(status=answer.status, body=answer.encoded() or None, content_type=content_type)


def _listening_socket(path: Path, mode: int) -> socket.socket:
    """A bound socket that takes the place of an older file at once.

    It is named by way of its open folder, as the name of a socket is limited to 107 bytes.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        temporary = f".{path.name}.new"
        (path.parent / temporary).unlink(missing_ok=True)
        listening.bind(f"/proc/self/fd/{folder}/{temporary}")
        (path.parent / temporary).chmod(mode)
        # Listening before it gets its name: nobody is refused in between.
        listening.listen(BACKLOG)
        os.replace(path.parent / temporary, path)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.close(folder)
    return listening
