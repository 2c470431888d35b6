"""A TCP relay that can be cut: the link between the hub and iothub, with a switch in it.

While it is cut, existing connections are reset and new ones are refused, as with a parent whose host is up
but whose service is gone. What the relay carries is TLS from end to end; it cannot read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

from edgehub.demo.errors import PortError

CONNECTIONS_MAX: Final = 256
"""Connections at the same time; more are reset at once."""
PIECE_BYTES_MAX: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class RelayPort:
    """One listening port and where it leads."""

    def __init__(self, host: str, port: int, target_host: str, target_port: int) -> None:
        self.host = host
        self.port = port
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Connections that are relayed now."""
        return len(self._jobs)

    @property
    def listening(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Listens. Port 0 is replaced by the one that the system chose.

        :raises PortError: the address is in use, or not allowed.
        """
        if self._server is not None:
            return
        try:
            self._server = await asyncio.start_server(
                self._accepted, self.host, self.port, limit=PIECE_BYTES_MAX
            )
        except OSError as error:
            raise PortError(f"cannot listen on {self.host}:{self.port}: {error.strerror}") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuses new connections and resets those that exist."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job = asyncio.current_task()
        assert job is not None
        if self._server is None or len(self._jobs) >= CONNECTIONS_MAX:
            _reset(writer)
            return
        self._jobs.add(job)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=PIECE_BYTES_MAX)
            await _carry(reader, writer, far_reader, far_writer)
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            # The cut. Only `close` awaits this task, and asyncio reports a cancelled handler as an error.
            _reset(writer)
        finally:
            self._jobs.discard(job)


class Relay:
    """Some ports that are cut and restored together."""

    def __init__(self, ports: list[RelayPort]) -> None:
        self.ports = ports

    @property
    def connections(self) -> int:
        return sum(port.connections for port in self.ports)

    @property
    def is_cut(self) -> bool:
        return not any(port.listening for port in self.ports)

    async def cut(self) -> None:
        """Resets every connection and refuses new ones. Idempotent."""
        for port in self.ports:
            await port.close()

    async def restore(self) -> None:
        """Carries again. Idempotent; also the first start.

        :raises PortError: an address is in use, or not allowed.
        """
        for port in self.ports:
            await port.open()


async def _carry(
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Relays both ways until both have ended; if one breaks or the relay is cut, both are reset."""
    whole = False
    try:
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_pump(near_reader, far_writer))
            ways.create_task(_pump(far_reader, near_writer))
        whole = True
    except* OSError:
        # A peer that resets is everyday life on a link.
        pass
    finally:
        for writer in (near_writer, far_writer):
            if whole:
                writer.close()
            else:
                _reset(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end of the stream and passes the end on; waits for a slow receiver, so that little
    is held in memory."""
    while piece := await reader.read(PIECE_BYTES_MAX):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST instead of FIN."""
    endpoint: socket.socket | None = writer.get_extra_info("socket")
    if endpoint is not None:
        with contextlib.suppress(OSError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
