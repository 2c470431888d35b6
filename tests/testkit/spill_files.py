"""Writes spill files as docs/store-format.md, section 12, describes them, independently of the core."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import lz4.frame  # type: ignore[import-untyped]

from testkit.store_files import NEVER, SALT, WRITTEN_MS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER_FRAME, BLOCK_FRAME, FOOTER_FRAME = 0x184D2A50, 0x184D2A51, 0x184D2A52


@dataclass(frozen=True)
class Spilled:
    """A message on its way to a spill file."""

    seq: int
    payload: bytes
    expires_ms: int = NEVER
    written_ms: int = WRITTEN_MS


def skippable(magic: int, content: bytes) -> bytes:
    """A frame that LZ4 tools pass over."""
    return struct.pack("<II", magic, len(content)) + content


@dataclass
class SpillFile:
    """One spill file, block by block.

    :param blocks: the contents of the block headers so far.
    :param offsets: where their frames begin.
    """

    folder: Path
    queue: int = 1
    number: int = 1
    salt: int = SALT
    version: int = 1
    content: bytearray = field(default_factory=bytearray)
    blocks: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        prefix = b"EDGEHUBS" + struct.pack("<I", self.version)
        body = struct.pack("<IQQQ", self.queue, self.number, self.salt, WRITTEN_MS)
        header = prefix + struct.pack("<II", crc32(prefix), crc32(body)) + body
        self.content += skippable(HEADER_FRAME, header)
        self.save()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"spill-{self.queue:05}-{self.number:012}.lz4"

    def save(self) -> None:
        """Writes it."""
        self.path.write_bytes(self.content)

    def block(self, first: int, end: int, messages: Sequence[Spilled]) -> None:
        """Adds a block that covers the numbers `first` to `end`, exclusive."""
        start_ms = messages[0].written_ms if messages else 0
        raw = b"".join(
            struct.pack("<IIIQ", len(one.payload), one.seq - first, one.written_ms - start_ms, one.expires_ms)
            + one.payload
            for one in messages
        )
        frame = lz4.frame.compress(raw, content_checksum=True, store_size=True) if messages else b""
        self.put_block(first, end, messages, len(raw), frame)

    def put_block(
        self, first: int, end: int, messages: Sequence[Spilled], raw_bytes: int, frame: bytes
    ) -> None:
        """The same with a frame that may be another."""
        written = [one.written_ms for one in messages] or [0]
        expiries = [one.expires_ms for one in messages] or [0]
        offset = len(self.content)
        head = struct.pack("<QQQQ", self.salt, offset, first, end)
        head += struct.pack("<IIII", len(messages), raw_bytes, len(frame), crc32(frame))
        head += struct.pack("<QQQQ", written[0], max(written), min(expiries), max(expiries))
        self.blocks.append(b"EHS1" + struct.pack("<I", crc32(head)) + head)
        self.offsets.append(offset)
        self.content += skippable(BLOCK_FRAME, self.blocks[-1]) + frame
        self.save()

    def finish(self) -> None:
        """Adds the footer."""
        heads = b"".join(self.blocks)
        tail = struct.pack("<II", len(self.blocks), crc32(heads)) + b"EHSFOOT1"
        self.content += skippable(FOOTER_FRAME, heads + tail)
        self.save()
