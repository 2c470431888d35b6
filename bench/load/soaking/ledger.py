"""Accounting by message: every message of the generator tells its publisher and its number."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.protocol.amqp_batch import BATCH_FORMAT, split_batch
from edgehub.protocol.amqp_message import decode_message

if TYPE_CHECKING:
    from collections.abc import Iterator

STAMP = struct.Struct(">IQQ")
"""Head of a message of edgehub-load: publisher, number, time of sending."""
NUMBERS_MAX = 100_000_000
"""Messages of one publisher that are told apart; one byte is kept for each."""
GROW_BY = 65_536
TIMES_MAX = 255
LOST_SHOWN_MAX = 20
_DATA_HEAD = b"\x00\x53\x75\xb0"


class LedgerError(Exception):
    """A message that no generator of this run has sent."""


@dataclass(frozen=True)
class Account:
    """What became of the messages of a run.

    Attributes:
        published: messages sent, all acknowledged.
        arrived: different ones that came.
        duplicates: further arrivals of those.
        lost: not come.
        first_lost: publisher and number of some of them.
    """

    published: int
    arrived: int
    duplicates: int
    lost: int
    first_lost: list[tuple[int, int]]


class Ledger:
    """How often each message has come."""

    def __init__(self, publishers: int) -> None:
        self._times = [bytearray() for _ in range(publishers)]
        self.arrived = 0
        self.duplicates = 0

    def note(self, publisher: int, number: int) -> None:
        """One message has come.

        Raises:
            LedgerError: there is no such publisher, or its number is beyond all that can be.
        """
        if publisher >= len(self._times) or number >= NUMBERS_MAX:
            raise LedgerError(f"message {number} of publisher {publisher}")
        times = self._times[publisher]
        if number >= len(times):
            times.extend(bytes(number - len(times) + GROW_BY))
        if times[number]:
            self.duplicates += 1
        else:
            self.arrived += 1
        times[number] = min(times[number] + 1, TIMES_MAX)

    def account(self, published: int) -> Account:
        """The balance for so many messages, sent by the publishers in turns.

        Raises:
            LedgerError: more came than were sent.
        """
        publishers, lost = len(self._times), 0
        first_lost: list[tuple[int, int]] = []
        for publisher, times in enumerate(self._times):
            sent = (published - publisher + publishers - 1) // publishers
            if any(times[sent:]):
                raise LedgerError(f"publisher {publisher} sent {sent} messages; more came")
            missing = max(sent - len(times), 0) + times[:sent].count(0)
            if missing:
                numbers = (number for number in range(sent) if number >= len(times) or not times[number])
                first_lost += [(publisher, number) for number, _ in zip(numbers, range(3), strict=False)]
            lost += missing
        return Account(published, self.arrived, self.duplicates, lost, first_lost[:LOST_SHOWN_MAX])


def stamps(payload: bytes, message_format: int, body_bytes: int) -> Iterator[tuple[int, int]]:
    """Publisher and number of each message in a transfer.

    Args:
        body_bytes: size of every message of the run, above 255.

    Raises:
        LedgerError: a body is too short for a stamp.
    """
    extents = split_batch(payload) if message_format == BATCH_FORMAT else [(0, len(payload))]
    head = _DATA_HEAD + body_bytes.to_bytes(4, "big")
    for start, end in extents:
        at = end - body_bytes
        # Nearly always the body is the last section; to decode the whole message takes twenty times as long.
        if at - len(head) < start or payload[at - len(head) : at] != head:
            body = decode_message(payload[start:end]).body
            if not isinstance(body, bytes) or len(body) < STAMP.size:
                raise LedgerError(f"a message of {end - start} bytes has no stamp")
            publisher, number, _ = STAMP.unpack_from(body)
        else:
            publisher, number, _ = STAMP.unpack_from(payload, at)
        yield publisher, number
