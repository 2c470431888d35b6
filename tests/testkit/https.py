"""A certificate for localhost, and clients that trust it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import aiohttp

from edgehub.demo.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "127.0.0.1"


async def raw_request(
    host: str, port: int, trusting: ssl.SSLContext, head: bytes, body: bytes = b""
) -> tuple[int, bytes]:
    """A request with bytes that no client library sends: status and body.

    :param head: first line and headers, each with its end of line.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=trusting)
    ending = b"Host: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + ending + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), content


class TrustedServer:
    """PEM texts of a server certificate for loopback, and the context of a client that trusts it."""

    def __init__(self, folder: Path, label: str = "hub") -> None:
        folder.mkdir(exist_ok=True)
        authority = Authority(folder)
        self.authority_file = authority.file
        self.files = authority.issue(label, ("localhost", HOST))
        self.chain_pem, self.key_pem = self.files.chain.read_bytes(), self.files.key.read_bytes()
        self.client_context = ssl.create_default_context(cafile=str(authority.file))

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client session for this server alone."""
        connector = aiohttp.TCPConnector(ssl=self.client_context)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session
        # The end of a TLS connection takes the loop some more turns, which a test's loop may not have.
        await asyncio.sleep(0.05)
