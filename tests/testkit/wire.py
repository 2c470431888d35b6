"""A small blocking MQTT client over a socket: sends exactly what a test says, right or wrong."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
WAIT_S = 20.0
"""Longest wait for anything; a test that needs it has failed."""


def field(data: bytes | str) -> bytes:
    """A length-prefixed field."""
    raw = data.encode() if isinstance(data, str) else data
    return struct.pack(">H", len(raw)) + raw


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A control packet."""
    header, length = bytearray([kind << 4 | flags]), len(body)
    while True:
        length, digit = divmod(length, 128)
        header.append(digit | (128 if length else 0))
        if not length:
            return bytes(header) + body


def connect_packet(
    client_id: str,
    username: str | None,
    password: str | None,
    *,
    level: int = 4,
    clean: bool = True,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """CONNECT with a keep alive of a minute; a will has QoS 1."""
    flags = (2 if clean else 0) | (128 if username is not None else 0) | (64 if password is not None else 0)
    flags |= 4 | 8 if will is not None else 0
    body = field("MQTT") + bytes([level, flags]) + struct.pack(">H", 60) + field(client_id)
    body += b"".join(field(part) for part in will or ())
    return packet(1, body + b"".join(field(item) for item in (username, password) if item is not None))


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH with QoS 1."""
    return packet(PUBLISH, field(topic) + struct.pack(">H", packet_id) + payload, 2)


def subscribe_packet(topic_filter: str, packet_id: int = 1) -> bytes:
    """SUBSCRIBE with QoS 1."""
    return packet(8, struct.pack(">H", packet_id) + field(topic_filter) + b"\x01", 2)


def puback_packet(packet_id: int) -> bytes:
    """PUBACK."""
    return packet(PUBACK, struct.pack(">H", packet_id))


@dataclass(frozen=True)
class Received:
    """A packet from the server."""

    kind: int
    flags: int
    body: bytes

    @property
    def code(self) -> int:
        """Return code of a CONNACK."""
        return self.body[1]

    @property
    def session_present(self) -> bool:
        """Flag of a CONNACK."""
        return self.body[0] == 1

    @property
    def acked(self) -> int:
        """Packet id of a PUBACK."""
        return int.from_bytes(self.body[:2])

    def message(self) -> tuple[str, int, bytes]:
        """Topic, packet id (0 for QoS 0) and body of a PUBLISH."""
        length = int.from_bytes(self.body[:2])
        topic, rest = self.body[2 : 2 + length].decode(), self.body[2 + length :]
        return (topic, int.from_bytes(rest[:2]), rest[2:]) if self.flags & 6 else (topic, 0, rest)


class PacketReader:
    """Cuts what was received into packets."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Takes what was received."""
        self._buffer += data

    def take(self) -> Received | None:
        """The next whole packet."""
        length, shift = 0, 0
        for index, byte in enumerate(self._buffer[1:5], start=1):
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                end = index + 1 + length
                if len(self._buffer) < end:
                    return None
                head, body = self._buffer[0], self._buffer[index + 1 : end]
                self._buffer = self._buffer[end:]
                return Received(head >> 4, head & 15, body)
        return None


class WireClient:
    """A connection."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", ca: Path | None = None) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), WAIT_S)
        if ca is not None:
            context = ssl.create_default_context(cafile=str(ca))
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._packets = PacketReader()
        self.session_present = False

    @classmethod
    def over(cls, connected: socket.socket) -> Self:
        """A client over a socket that is connected already."""
        client = cls.__new__(cls)
        client.socket, client._packets, client.session_present = connected, PacketReader(), False
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends everything."""
        self.socket.sendall(data)

    def receive(self) -> Received | None:
        """The next packet; None when the server closed the connection."""
        while (found := self._packets.take()) is None:
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLEOFError):
                return None
            if not data:
                return None
            self._packets.feed(data)
        return found

    def expect(self, kind: int) -> Received:
        """The next packet, which must be of this kind."""
        got = self.receive()
        assert got is not None, f"connection closed instead of packet {kind}"
        assert got.kind == kind, f"packet {got.kind} instead of {kind}"
        return got

    def expect_closed(self) -> None:
        """The server must close without a further packet."""
        assert self.receive() is None

    def connect(
        self,
        client_id: str,
        username: str | None,
        password: str | None,
        *,
        level: int = 4,
        clean: bool = True,
    ) -> int:
        """Sends CONNECT; the return code of the CONNACK."""
        self.send(connect_packet(client_id, username, password, level=level, clean=clean))
        answer = self.expect(CONNACK)
        self.session_present = answer.session_present
        return answer.code
