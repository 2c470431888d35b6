"""Writes the files of a message store as docs/store-format.md describes them, independently of the core."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SALT = 0x1234_5678_9ABC_DEF0
NEVER = 2**64 - 1
WRITTEN_MS = 1_700_000_000_000
HEADER_BYTES = 112
BATCH_SALT = SALT ^ 0x9E37_79B9_7F4A_7C15
"""Of segment 1."""


def encoded_message(
    body: bytes,
    *,
    device: str = "leaf",
    module: str = "",
    properties: Mapping[str, str | None] | None = None,
    system: Mapping[int, str] | None = None,
) -> bytes:
    """A payload as the hub stores it; system properties by their number."""
    entries = [_property(number, b"", value) for number, value in (system or {}).items()]
    entries += [_property(0, key.encode(), value) for key, value in (properties or {}).items()]
    bag = b"".join(entries)
    ids = b"".join(struct.pack("<H", len(name.encode())) + name.encode() for name in (device, module))
    return struct.pack("<BBQ", 1, 1, WRITTEN_MS) + ids + struct.pack("<I", len(bag)) + bag + body


def _property(number: int, key: bytes, value: str | None) -> bytes:
    text = b"" if value is None else value.encode()
    length = 0xFFFF_FFFF if value is None else len(text)
    return struct.pack("<BHI", number, len(key), length) + key + text


@dataclass
class StoreFiles:
    """One segment of a store, batch by batch.

    :param next_seqs: by queue id.
    :param wall_skew_ms: how far the wall clock is ahead of the store's time, in the header.
    """

    folder: Path
    content: bytearray = field(default_factory=bytearray)
    next_seqs: dict[int, int] = field(default_factory=dict)
    version: int = 1
    wall_skew_ms: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = b"EDGEHUBJ" + struct.pack("<I", self.version)
        rest = struct.pack("<QQQQQQII", 1, 0, 0, 0, SALT, WRITTEN_MS, 0, 0)
        rest += struct.pack("<qq16s", self.wall_skew_ms, 5000 - WRITTEN_MS, bytes(range(16)))
        lengths = struct.pack("<I", HEADER_BYTES) + struct.pack("<I", crc32(rest))
        self.content += prefix + struct.pack("<I", crc32(prefix)) + lengths + rest
        self.save()

    @property
    def path(self) -> Path:
        """The segment's file."""
        return self.folder / "journal-000000000001.seg"

    def save(self) -> None:
        """Writes the file."""
        self.path.write_bytes(self.content)

    def define(self, queue: int, endpoint: str, priority: int = 0) -> None:
        """Adds a queue."""
        self.next_seqs[queue] = 0
        self._batch([_record(2, 0, struct.pack("<II", queue, priority) + endpoint.encode())], [], [])

    def append(self, queues: Sequence[int], payload: bytes, expires_ms: int = NEVER) -> None:
        """Adds a message."""
        targets = b"".join(struct.pack("<IQ", queue, expires_ms) for queue in queues)
        ranges = []
        for queue in queues:
            ranges.append((queue, 1, self.next_seqs[queue]))
            self.next_seqs[queue] += 1
        self._batch([_record(1, len(queues), targets + payload)], ranges, [])

    def spilled(self, queue: int, below: int) -> None:
        """Says that messages of the queue below a number are in spill files."""
        self._batch([_record(4, 0, struct.pack("<IQ", queue, below))], [], [])

    def acknowledge(self, queue: int, below: int) -> None:
        """Adds a checkpoint."""
        self._batch([], [], [(queue, 0, below)])

    def step_clock(self, wall_skew_ms: int) -> None:
        """Adds a record that the wall clock was stepped."""
        self._batch([_record(5, 0, struct.pack("<q", wall_skew_ms))], [], [])

    def lose(self, lines: Sequence[str], *, salt: int = SALT) -> None:
        """Writes the ledger of losses; lines without their line feeds."""
        head = f"edgehub losses\t1\t{salt:016x}\t{WRITTEN_MS}"
        text = "".join(f"{line}\n" for line in (head, *lines)).encode()
        (self.folder / "losses.txt").write_bytes(text + f"end\t{crc32(text):08x}\n".encode())

    def _batch(
        self,
        records: Sequence[bytes],
        ranges: Sequence[tuple[int, int, int]],
        checkpoints: Sequence[tuple[int, int, int]],
    ) -> None:
        tables = b"".join(struct.pack("<IIQ", *entry) for entry in (*ranges, *checkpoints))
        packed = b"".join(records)
        size = -(-(64 + len(packed) + len(tables)) // 8) * 8
        address = len(self.content)
        head = struct.pack("<QQQIII", BATCH_SALT, address, address, size, len(records), len(packed))
        head += struct.pack("<III", crc32(tables), len(ranges), len(checkpoints))
        head += struct.pack("<Q", WRITTEN_MS + address)
        batch = b"EHB1" + struct.pack("<I", crc32(head)) + head + packed + tables
        self.content += batch.ljust(size, b"\0")
        self.save()


def _record(kind: int, targets: int, content: bytes) -> bytes:
    covered = struct.pack("<IBBH", 12 + len(content), kind, 0, targets) + content
    return struct.pack("<I", crc32(covered)) + covered
