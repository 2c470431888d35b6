"""HTTP by hand, for what no client would send."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 20.0


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, path: Path) -> Raw:
        return cls(*await asyncio.open_unix_connection(path))

    def send(self, verb: str, target: str, body: bytes = b"", **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {"Host": "x", "Content-Length": str(len(body)), **given}
        lines = [f"{verb} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def answer(self) -> tuple[int, Any]:
        """Status and decoded body of the next answer."""
        async with asyncio.timeout(WAIT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            status = int(head.split()[1])
            length = int(head.split("content-length:")[1].split()[0]) if "content-length:" in head else 0
            body = await self._reader.readexactly(length)
        return status, json.loads(body) if body else None

    async def ended(self) -> bool:
        """Whether the server closed the connection without sending more."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self._reader.read() == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def call(path: Path, verb: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """One request on its own connection."""
    raw = await Raw.open(path)
    raw.send(verb, target, body, **headers)
    try:
        return await raw.answer()
    finally:
        await raw.close()
