"""MQTT over WebSocket: aiohttp speaks the WebSocket, an I/O thread of the core speaks MQTT.

Between the two is a socket pair. The core drives its end like any plain connection, so all rules, limits and
the will of a client are those of TCP; this side only moves bytes. Back-pressure is the kernel's: a full pair
stops the reading of the WebSocket, and a WebSocket that takes nothing stops the reading of the pair. Rules:
heads spec 1.10 and 3.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import WSCloseCode, WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.heads.forwarded import ForwardedCertificates

SUB_PROTOCOL: Final = "mqtt"
"""Name of MQTT in `Sec-WebSocket-Protocol`, any case."""
FRAME_SPARE_BYTES: Final = 64 * 1024
"""A WebSocket message may be this much larger than the largest packet, because it may hold several."""
PIECE_BYTES: Final = 64 * 1024
"""Most that is sent in one WebSocket message."""
PAIR_BYTES: Final = 64 * 1024
"""Buffer that the kernel is asked for in each direction of a pair; it doubles that for its own records."""
SEND_WAIT_S: Final = 120.0
"""A client that takes no piece of output for so long is gone."""
CLOSE_WAIT_S: Final = 2.0
"""Longest wait for the client's half of the closing handshake."""

log = logging.getLogger(__name__)
# It warns of sub-protocols that it does not find, whatever they hold; which one is served is decided here.
logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def choose_sub_protocol(offered: list[str]) -> str | None:
    """The first sub-protocol that is served, in the client's spelling; None if there is none.

    :param offered: the values of all `Sec-WebSocket-Protocol` headers.
    """
    names = (name.strip() for line in offered for name in line.split(","))
    return next((name for name in names if name.lower() == SUB_PROTOCOL), None)


class MqttWebSockets:
    """Serves upgrades to MQTT.

    :param adopt: hands a descriptor and the peer's address to the core, which makes a duplicate.
    :param core_error: what `adopt` raises when the core cannot take it.
    :param packet_bytes_max: largest MQTT packet of a client.
    :param forwarded: reads the certificates that a proxy passes on; None: they are not looked at.
    """

    def __init__(
        self,
        adopt: Callable[[int, str], None],
        core_error: type[Exception],
        packet_bytes_max: int,
        forwarded: ForwardedCertificates | None = None,
    ) -> None:
        self._adopt = adopt
        self._core_error = core_error
        self._message_bytes_max = packet_bytes_max + FRAME_SPARE_BYTES
        self._forwarded = forwarded

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answers the upgrade, then carries bytes until one side ends."""
        name = choose_sub_protocol(request.headers.getall("Sec-WebSocket-Protocol", []))
        if name is None:
            return web.Response(status=400)
        if self._forwarded is None:
            return await self._serve(request, name)
        with self._forwarded.held(peer_of(request), await self._forwarded.read(request.headers)):
            return await self._serve(request, name)

    async def _serve(self, request: web.Request, name: str) -> web.StreamResponse:
        websocket = web.WebSocketResponse(
            protocols=(name,),
            compress=False,
            heartbeat=None,
            max_msg_size=self._message_bytes_max + 1,  # aiohttp names the first size that is too large
            timeout=CLOSE_WAIT_S,
        )
        # aiohttp looks at the first of several header lines only.
        websocket.headers["Sec-WebSocket-Protocol"] = name
        await websocket.prepare(request)
        ours, cores = _make_pair()
        with ours:
            try:
                with cores:
                    self._adopt(cores.fileno(), peer_of(request))
            except self._core_error as error:
                log.warning("A WebSocket of %s cannot be served: %s", request.remote, error)
                code = WSCloseCode.TRY_AGAIN_LATER
            else:
                code = await _carry(websocket, ours)
        await _close(websocket, code)
        return websocket


def peer_of(request: web.Request) -> str:
    """Address and port of the client, as the core writes those of its own connections."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(name, tuple):
        return "unknown"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _make_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PAIR_BYTES)
        end.setblocking(False)
    return pair


async def _carry(websocket: web.WebSocketResponse, pair: socket.socket) -> WSCloseCode:
    """Moves bytes both ways until one side ends; how the WebSocket is to be closed."""
    inward = asyncio.create_task(_from_client(websocket, pair))
    outward = asyncio.create_task(_to_client(websocket, pair))
    both = (inward, outward)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        ended = inward if inward.done() else outward
        return ended.result()
    finally:
        # The core must see the end now, not after the closing handshake.
        with contextlib.suppress(OSError):
            pair.shutdown(socket.SHUT_RDWR)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _from_client(websocket: web.WebSocketResponse, pair: socket.socket) -> WSCloseCode:
    """Ends when the client does, or with the first message that cannot be MQTT."""
    loop = asyncio.get_running_loop()
    core_listens = True
    async for message in websocket:
        if message.type is not WSMsgType.BINARY:
            return WSCloseCode.UNSUPPORTED_DATA
        if not core_listens:
            continue
        try:
            await loop.sock_sendall(pair, message.data)
        except OSError:
            # The core ended the connection. Its last words are still in the pair: `_to_client` sees the end.
            core_listens = False
    return WSCloseCode.OK


async def _to_client(websocket: web.WebSocketResponse, pair: socket.socket) -> WSCloseCode:
    """Ends when the core does, or when the client takes nothing any more."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        while piece := await loop.sock_recv(pair, PIECE_BYTES):
            async with asyncio.timeout(SEND_WAIT_S):
                await websocket.send_bytes(piece)
    return WSCloseCode.OK


async def _close(websocket: web.WebSocketResponse, code: WSCloseCode) -> None:
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(2 * CLOSE_WAIT_S):
            await websocket.close(code=code)
