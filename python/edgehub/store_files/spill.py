"""Messages in spill files, by docs/store-format.md, section 12: LZ4 frames between skippable ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from zlib import crc32

from edgehub._core import StoredMessage
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from edgehub._core import StoreSpillBlock

    Tell = Callable[[str, int], None]
    _Message = tuple[int, int, bytes]

HEADER_MAGIC = 0x184D2A50
BLOCK_MAGIC = 0x184D2A51
FORMAT_VERSION = 1
NEVER = 2**64 - 1
RAW_BYTES_MAX = (8 << 20) + (1 << 20)
"""Entries of one block, uncompressed."""
FRAME_BYTES_MAX = 2 * RAW_BYTES_MAX

_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<8sII I I QQQ")
_BLOCK = struct.Struct("<4sI QQQQ IIII QQQQ")
_ENTRY = struct.Struct("<IIIQ")


class SpillFileError(EdgehubError):
    """A spill file, or a block of one, that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Block:
    """What a block's header says of the block."""

    first_seq: int
    count: int
    raw_bytes: int
    frame_bytes: int
    frame_crc: int


def read_spilled(
    folder: Path, blocks: Iterable[StoreSpillBlock], tell: Tell, *, wall_skew_ms: int = 0
) -> Iterator[StoredMessage]:
    """Messages of one queue, one block in memory at a time.

    :param blocks: in order, as `StoreInspector.spill_blocks` gives them.
    :param tell: called with a reason and the number of messages that cannot be read; the walk goes on behind.
    :param wall_skew_ms: added to expiries, which are stored in the store's own time.
    """
    for name, group in groupby(blocks, key=lambda block: block.file):
        wanted = list(group)
        try:
            with (folder / name).open("rb") as file:
                for messages in _read_file(file, name, wanted, tell):
                    for seq, expires_ms, payload in messages:
                        yield StoredMessage(seq, _wall(expires_ms, wall_skew_ms), payload)
        except FileNotFoundError:
            tell(f"{name} is gone: its messages were delivered or given up meanwhile", _messages(wanted))
        except PermissionError as error:
            tell(f"{name}: {error.strerror}", _messages(wanted))


def _wall(expires_ms: int, skew_ms: int) -> int | None:
    """None = never."""
    return None if expires_ms == NEVER else min(max(expires_ms + skew_ms, 0), NEVER - 1)


def _messages(blocks: Sequence[StoreSpillBlock]) -> int:
    return sum(block.messages for block in blocks)


def _read_file(
    file: BinaryIO, name: str, wanted: Sequence[StoreSpillBlock], tell: Tell
) -> Iterator[list[_Message]]:
    try:
        salt = _read_salt(file)
    except (SpillFileError, OSError) as error:
        tell(f"{name}: {error}", _messages(wanted))
        return
    for block in wanted:
        try:
            yield _read_block(file, block, salt)
        except (SpillFileError, OSError) as error:
            tell(f"{name}: the block at offset {block.offset} {error}", block.messages)


def _read_salt(file: BinaryIO) -> int:
    """The folder's random number, from the file's header."""
    content = _read_skippable(file, 0, HEADER_MAGIC, _HEADER.size)
    if content is None:
        raise SpillFileError("its header is damaged")
    magic, version, prefix_crc, body_crc, _, _, salt, _ = _HEADER.unpack(content)
    if magic != b"EDGEHUBS" or prefix_crc != crc32(content[:12]):
        raise SpillFileError("its header is damaged")
    if version > FORMAT_VERSION:
        raise SpillFileError(f"format version {version} is newer than {FORMAT_VERSION}")
    if body_crc != crc32(content[20:]):
        raise SpillFileError("its header is damaged")
    return int(salt)


def _read_skippable(file: BinaryIO, offset: int, magic: int, content_bytes: int) -> bytes | None:
    """The content of a frame of that magic and length, if it is there."""
    file.seek(offset)
    frame = file.read(_FRAME.size + content_bytes)
    if len(frame) < _FRAME.size + content_bytes or _FRAME.unpack_from(frame) != (magic, content_bytes):
        return None
    return frame[_FRAME.size :]


def _read_block(file: BinaryIO, wanted: StoreSpillBlock, salt: int) -> list[_Message]:
    """All wanted messages of a block; none of them when it is damaged.

    :raises SpillFileError: it is damaged, or another file took the place of the one that it was in.
    """
    block = _read_block_header(file, wanted.offset, salt)
    if block.count == 0:
        raise SpillFileError("was given up meanwhile")
    entries = list(_entries(_decompress(file.read(block.frame_bytes), block)))
    if len(entries) != block.count:
        raise SpillFileError("is damaged: it does not hold what its header says")
    numbered = ((block.first_seq + delta, expires_ms, payload) for delta, expires_ms, payload in entries)
    messages = [message for message in numbered if message[0] >= wanted.from_seq]
    if len(messages) != wanted.messages:
        raise SpillFileError("holds other messages than before")
    return messages


def _read_block_header(file: BinaryIO, offset: int, salt: int) -> _Block:
    content = _read_skippable(file, offset, BLOCK_MAGIC, _BLOCK.size)
    if content is None:
        raise SpillFileError("is damaged, or gone: no block begins there")
    magic, crc, own_salt, own_offset, first_seq, _, count, raw_bytes, frame_bytes, frame_crc, *_ = (
        _BLOCK.unpack(content)
    )
    if magic != b"EHS1" or crc != crc32(content[8:]) or (own_salt, own_offset) != (salt, offset):
        raise SpillFileError("is damaged: the checksum of its header is wrong")
    if raw_bytes > RAW_BYTES_MAX or frame_bytes > FRAME_BYTES_MAX:
        raise SpillFileError("is damaged: it is longer than any block")
    return _Block(first_seq, count, raw_bytes, frame_bytes, frame_crc)


def _decompress(frame: bytes, block: _Block) -> bytes:
    import lz4.frame  # type: ignore[import-untyped]  # noqa: PLC0415 - only who reads such files needs it

    if len(frame) != block.frame_bytes or crc32(frame) != block.frame_crc:
        raise SpillFileError("is damaged: its checksum is wrong")
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        # One byte more than there should be, so that a longer one is noticed.
        raw = bytes(decompressor.decompress(frame, max_length=block.raw_bytes + 1))
    except (RuntimeError, EOFError) as error:
        raise SpillFileError(f"is damaged: {error}") from None
    if len(raw) != block.raw_bytes or not decompressor.eof or decompressor.unused_data:
        raise SpillFileError("is damaged: it has another length than its header says")
    return raw


def _entries(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number less the block's first, expiry and payload of each message.

    :raises SpillFileError: an entry is not whole.
    """
    offset = 0
    while offset < len(raw):
        start = offset + _ENTRY.size
        if start > len(raw):
            raise SpillFileError("is damaged: an entry in it is not whole")
        length, delta, _, expires_ms = _ENTRY.unpack_from(raw, offset)
        offset = start + length
        if offset > len(raw):
            raise SpillFileError("is damaged: an entry in it is not whole")
        yield delta, expires_ms, raw[start:offset]
