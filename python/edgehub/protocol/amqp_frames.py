"""Frame taps around proton: the message format of transfers, which proton neither reports nor sends.

Proton's C engine writes message-format 0 in every transfer frame and drops the one it receives, yet IoT Hub
tells a batch from a single message by that field alone. Both taps follow the frames of one direction (part 2,
2.3):

- `FormatReader` splits the bytes for proton so that a frame carrying a non-zero format is pushed by itself;
  the delivery event that follows belongs to it.
- `FormatWriter` finds transfers whose delivery tag ends in a format put there by `tag_with_format`, and moves
  those four bytes from the tag to the message-format field. The frame keeps its size, so no limit can be
  crossed.

Bytes are passed on as they come; at most one frame's head (`_HEAD_BYTES` plus its extended header) is held
back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD_BYTES: Final = 72
"""Bytes from the performative that always cover handle, delivery-id, delivery-tag (at most 32) and format."""

_PROTOCOL_HEADER: Final = b"AMQP"
_PROTOCOL_HEADER_BYTES: Final = 8
_TRANSFER: Final = 0x14

UNLIMITED_BYTES: Final = 0xFFFF_FFFF
FORMAT_TAG_BYTES: Final = 12
"""Length of a tag made by `tag_with_format`; other tags of this length are not sent through
`FormatWriter`."""


def tag_with_format(number: int, message_format: int) -> bytes:
    """Delivery tag for proton: eight bytes that will be the tag on the wire, then the message format."""
    return number.to_bytes(8, "big") + message_format.to_bytes(4, "big")


class _TransferHead(NamedTuple):
    """Where the interesting fields of a transfer lie, relative to the frame's start."""

    tag_length_at: int
    tag_length: int
    format_at: int
    message_format: int


def _uint_at(buf: bytes, pos: int) -> tuple[int, int]:
    """Value and end of a uint (or null, as 0)."""
    code = buf[pos]
    if code in (0x43, 0x40):
        return 0, pos + 1
    if code == 0x52:
        return buf[pos + 1], pos + 2
    if code == 0x70:
        return int.from_bytes(buf[pos + 1 : pos + 5], "big"), pos + 5
    raise ValueError


def _parse_transfer(frame: bytes, start: int) -> _TransferHead | None:
    """Reads the head of a transfer; None for any other frame or one proton should judge.

    :param frame: frame bytes from its size field on, at least the head.
    :param start: where the performative starts (four times the data offset).
    """
    try:
        if frame[start : start + 3] != b"\x00\x53\x14":
            return None
        list_code = frame[start + 3]
        pos = start + {0xC0: 6, 0xD0: 12}[list_code]
        count = frame[pos - 1] if list_code == 0xC0 else int.from_bytes(frame[pos - 4 : pos], "big")
        if count < 4:
            return None
        _, pos = _uint_at(frame, pos)
        _, pos = _uint_at(frame, pos)
        tag_length_at = pos + 1
        if frame[pos] == 0x40:
            tag_length, pos = 0, pos + 1
        elif frame[pos] == 0xA0:
            tag_length = frame[pos + 1]
            pos += 2 + tag_length
        else:
            return None
        message_format, _ = _uint_at(frame, pos)
        return _TransferHead(tag_length_at, tag_length, pos, message_format)
    except (IndexError, KeyError, ValueError):
        return None


class _FrameWalker:
    """Follows frame boundaries; yields the complete pieces and says where frame heads are.

    :param frame_bytes_max: a larger frame is a mistake of the peer; from there on all bytes are passed on at
        once, so that proton can refuse them.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._held = b""
        self._left = 0  # bytes of the current frame still to come
        self._broken = False

    def walk(self, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """At most one piece: bytes to pass on and the offsets of the frame heads in them."""
        if self._held:
            data = self._held + data
            self._held = b""
        heads: list[int] = []
        pos, end = 0, len(data)
        while pos < end and not self._broken:
            if self._left:
                step = min(self._left, end - pos)
                pos += step
                self._left -= step
                continue
            size = self._frame_size(data, pos, end)
            if size == 0:
                break
            heads.append(pos)
            self._left = size
        if self._broken:
            pos = end
        self._held = data[pos:]
        if pos:
            yield data[:pos], heads

    def _frame_size(self, data: bytes, pos: int, end: int) -> int:
        """Size of the frame at `pos`, or 0 to wait for more of its head."""
        available = end - pos
        if available < _PROTOCOL_HEADER_BYTES:
            return 0
        if data[pos : pos + 4] == _PROTOCOL_HEADER:
            return _PROTOCOL_HEADER_BYTES
        size = int.from_bytes(data[pos : pos + 4], "big")
        start = 4 * data[pos + 4]
        if not _PROTOCOL_HEADER_BYTES <= start <= size <= self._frame_bytes_max:
            self._broken = True
            return 0
        head = min(size, start + _HEAD_BYTES)
        return size if available >= head else 0


def _head_of(data: bytes, pos: int) -> _TransferHead | None:
    """Transfer head of the frame at `pos`; only AMQP frames (type 0) have one."""
    if data[pos + 5] != 0 or data[pos : pos + 4] == _PROTOCOL_HEADER:
        return None
    start = 4 * data[pos + 4]
    return _parse_transfer(data[pos : pos + start + _HEAD_BYTES], start)


class FormatReader:
    """Splits received bytes so that the message format of each transfer is known.

    :param frame_bytes_max: largest frame that the peer may send.
    """

    def __init__(self, frame_bytes_max: int = UNLIMITED_BYTES) -> None:
        self._walker = _FrameWalker(frame_bytes_max)
        self._open_format = 0  # format of a frame that is not complete yet
        self._open_left = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Pieces for proton in order; a non-zero number is the format of the transfer that this piece
        completes."""
        for piece, heads in self._walker.walk(data):
            yield from self._split(piece, heads)

    def _split(self, piece: bytes, heads: list[int]) -> Iterator[tuple[bytes, int]]:
        done = 0
        if self._open_left:
            done = min(self._open_left, len(piece))
            self._open_left -= done
            yield piece[:done], 0 if self._open_left else self._open_format
        for head_at in heads:
            head = _head_of(piece, head_at)
            if head is None or head.message_format == 0:
                continue
            if head_at > done:
                yield piece[done:head_at], 0
            size = int.from_bytes(piece[head_at : head_at + 4], "big")
            done = min(head_at + size, len(piece))
            self._open_left = head_at + size - done
            self._open_format = head.message_format
            yield piece[head_at:done], 0 if self._open_left else head.message_format
        if done < len(piece):
            yield piece[done:], 0


class FormatWriter:
    """Puts the message format into outgoing transfers whose tag carries it."""

    def __init__(self) -> None:
        self._walker = _FrameWalker(UNLIMITED_BYTES)

    def feed(self, data: bytes) -> bytes:
        """Bytes to send in place of `data`."""
        return b"".join(self._rewrite(piece, heads) for piece, heads in self._walker.walk(data))

    @staticmethod
    def _rewrite(piece: bytes, heads: list[int]) -> bytes:
        out: bytearray | None = None
        for head_at in heads:
            head = _head_of(piece, head_at)
            if head is None or head.tag_length != FORMAT_TAG_BYTES or head.message_format:
                continue
            out = bytearray(piece) if out is None else out
            length_at = head_at + head.tag_length_at
            format_at = head_at + head.format_at
            # `a0 0c tag8 fmt4 43` becomes `a0 08 tag8 70 fmt4`: the same number of bytes.
            out[length_at] = FORMAT_TAG_BYTES - 4
            out[format_at - 4 : format_at + 1] = b"\x70" + piece[format_at - 4 : format_at]
        return piece if out is None else bytes(out)
