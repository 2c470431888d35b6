"""The batch message format of IoT Hub and Event Hubs: many messages in one transfer.

A transfer with message-format `0x80013700` holds data sections, each of which is one complete encoded
message; other sections around them (annotations of the batch) are ignored. One disposition settles all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgehub.protocol.amqp_message import DATA, FOOTER, HEADER, encode_section
from edgehub.protocol.amqp_types import AmqpDecodeError, skip_value

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH_FORMAT: Final = 0x80013700
SINGLE_FORMAT: Final = 0

BATCH_MSGS_MAX: Final = 5000
"""Messages accepted in one batch; more is refused as malformed. A message takes at least 5 bytes."""


def split_batch(payload: bytes, msgs_max: int = BATCH_MSGS_MAX) -> list[tuple[int, int]]:
    """Extents `(start, end)` of the inner messages, in order. The inner messages are not looked into.

    :raises AmqpDecodeError: not a sequence of sections, no data section, or more than `msgs_max` of them.
    """
    extents: list[tuple[int, int]] = []
    pos, end = 0, len(payload)
    while pos < end:
        if end - pos < 5 or payload[pos] != 0x00 or payload[pos + 1] != 0x53:
            raise AmqpDecodeError("a batch must be made of sections with compact descriptors", pos)
        code = payload[pos + 2]
        if code != DATA:
            pos = _skip_outer_section(payload, code, pos, end)
            continue
        start, pos = _data_extent(payload, pos, end)
        if len(extents) >= msgs_max:
            raise AmqpDecodeError(f"a batch holds at most {msgs_max} messages", pos)
        extents.append((start, pos))
    if not extents:
        raise AmqpDecodeError("a batch must hold at least one message", 0)
    return extents


def _data_extent(payload: bytes, pos: int, end: int) -> tuple[int, int]:
    constructor = payload[pos + 3]
    if constructor == 0xA0:
        start = pos + 5
        after = start + payload[pos + 4]
    elif constructor == 0xB0 and pos + 8 <= end:
        start = pos + 8
        after = start + int.from_bytes(payload[pos + 4 : pos + 8], "big")
    else:
        raise AmqpDecodeError("a data section must hold binary", pos)
    if after > end:
        raise AmqpDecodeError("a data section runs past the batch", pos)
    return start, after


def _skip_outer_section(payload: bytes, code: int, pos: int, end: int) -> int:
    if not HEADER <= code <= FOOTER:
        raise AmqpDecodeError("unknown message section in a batch", pos)
    return skip_value(payload, pos + 3, end)


def join_batch(messages: Iterable[bytes]) -> bytes:
    """Payload of a batch transfer for complete encoded messages."""
    return b"".join(encode_section(DATA, message) for message in messages)
