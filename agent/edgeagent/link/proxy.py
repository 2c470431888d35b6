"""HTTP proxies on the way to the hub (`https_proxy`, agent spec 2.9)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from edgeagent.link.errors import ConnectError, LinkSettingsError

if TYPE_CHECKING:
    import socket

ANSWER_BYTES_MAX: Final = 16 * 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and who we are to it."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)

    def request(self, host: str, port: int) -> bytes:
        """Asks for a tunnel."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
        if self.credentials:
            lines.append(f"Proxy-Authorization: Basic {self.credentials}")
        return "\r\n".join([*lines, "", ""]).encode()


def parse_proxy(text: str) -> Proxy:
    """Reads `http://[user:password@]host[:port]`.

    :raises LinkSettingsError: something else; the text has no password.
    """
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        port = parts.port or 3128
    except ValueError:
        raise LinkSettingsError("https_proxy is not http://[user:password@]host:port") from None
    if parts.scheme.lower() != "http" or not parts.hostname:
        raise LinkSettingsError("https_proxy must be http://[user:password@]host:port")
    credentials = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, port, credentials)


def open_tunnel(connection: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Asks the proxy at the other end to pass everything on. Blocks, within the timeout of the socket.

    :raises ConnectError: it does not.
    """
    connection.sendall(proxy.request(host, port))
    # Nothing of the tunnel can be in here: TLS begins with us.
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        chunk = connection.recv(4096)
        answer += chunk
        if not chunk or len(answer) > ANSWER_BYTES_MAX:
            raise ConnectError(f"the proxy {proxy.host}:{proxy.port} gave no answer that could be read")
    found = _STATUS_LINE.match(answer)
    if found is None or not 200 <= int(found[1]) < 300:
        status = found[1].decode() if found else "no HTTP"
        raise ConnectError(f"the proxy {proxy.host}:{proxy.port} refused the way to {host}:{port} ({status})")
