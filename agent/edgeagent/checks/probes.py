""":class:`~edgeagent.checks.ports.Probes` on this device."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from edgeagent.checks.container_probe import ContainerProbe
from edgeagent.checks.ports import ProbeError, Route
from edgeagent.errors import AgentError
from edgeagent.files import read_optional
from edgeagent.link.proxy import parse_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from edgeagent.runtime.engine import Engine

FILE_BYTES_MAX = 1024 * 1024
RESOLVE_S = 15.0
TIME_SERVER_S = 5.0
_SINCE_1900_S = 2_208_988_800
_ASK = b"\x1b" + 47 * b"\0"
"""Version 3, client (RFC 4330 section 4)."""


class SystemProbes:
    """Asks this device, its network and its container engine.

    :param management: asks an agent at an address for `/systeminfo`.
    """

    def __init__(
        self, engine: Engine | None, management: Callable[[str], Awaitable[Mapping[str, Any]]]
    ) -> None:
        self._containers = None if engine is None else ContainerProbe(engine)
        self._management = management

    def hostname(self) -> str:
        return os.uname().nodename

    def read(self, path: Path) -> bytes | None:
        try:
            return read_optional(path, FILE_BYTES_MAX)
        except OSError as fault:
            raise ProbeError(f"{path} cannot be read: {fault.strerror or fault}") from None
        except ValueError:
            raise ProbeError(f"{path} has more than {FILE_BYTES_MAX} bytes") from None

    def modified_s(self, path: Path) -> float | None:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise ProbeError(f"{path} cannot be looked at: {fault.strerror or fault}") from None

    async def resolve(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ProbeError(f"no answer within {RESOLVE_S:g} s") from None
        except (OSError, UnicodeError) as fault:
            raise ProbeError(getattr(fault, "strerror", None) or str(fault)) from None
        return sorted({str(entry[4][0]) for entry in found})

    async def tls(self, route: Route) -> None:
        await asyncio.to_thread(_tls, route)

    async def clock_offset_s(self, server: str) -> float:
        return await asyncio.to_thread(_clock_offset_s, server)

    async def management(self, address: str) -> Mapping[str, Any]:
        try:
            return await self._management(address)
        except AgentError as fault:
            raise ProbeError(str(fault)) from None

    async def from_container(self, network: str, image: str, host: str, port: int | None) -> None:
        if self._containers is None:
            raise ProbeError("there is no container engine")
        await self._containers.reach(network, image, host, port)


def _tls(route: Route) -> None:
    from edgeagent.link.sockets import Endpoint, SocketOpener  # noqa: PLC0415 - only where it is used
    from edgeagent.link.tls import upstream_context  # noqa: PLC0415

    try:
        proxy = parse_proxy(route.proxy) if route.proxy else None
        opener = SocketOpener(Endpoint(route.host, route.port, upstream_context(route.trust_pem), proxy))
        opener.open()
        opener.close()
    except AgentError as fault:
        raise ProbeError(str(fault)) from None
    except (OSError, UnicodeError) as fault:
        raise ProbeError(getattr(fault, "strerror", None) or str(fault) or type(fault).__name__) from None


def _clock_offset_s(server: str) -> float:
    """:raises ValueError: not of the form `host:port`."""
    host, separator, port = server.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'"{server}" is no time server; expected host:port, such as pool.ntp.org:123')
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as asking:
            asking.settimeout(TIME_SERVER_S)
            asking.connect(address)
            sent_s = time.time()
            asking.send(_ASK)
            answer = asking.recv(512)
            now_s = time.time()
    except (OSError, UnicodeError) as fault:
        raise ProbeError(getattr(fault, "strerror", None) or str(fault)) from None
    return read_offset_s(answer, sent_s, now_s)


def read_offset_s(answer: bytes, sent_s: float, now_s: float) -> float:
    """By how much we are behind, of the server's answer (RFC 4330 section 5).

    :raises ProbeError: no answer of a time server.
    """
    with contextlib.suppress(struct.error):
        received, received_part, answered, answered_part = struct.unpack_from("!4I", answer, 32)
        if answered:
            middle_s = (received + answered) / 2 + (received_part + answered_part) / 2**33 - _SINCE_1900_S
            return float(middle_s - (sent_s + now_s) / 2)
    raise ProbeError("it gave no answer that can be read")
