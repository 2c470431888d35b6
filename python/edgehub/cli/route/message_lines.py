"""Messages in files: one JSON object, or one on each line."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from edgehub.cli.route.strict_json import parse
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE_BYTES_MAX = 4 * 1024 * 1024
"""A message is at most 256 KiB; as JSON it can grow sixfold."""

BATCH_MSGS = 1000
READ_BYTES = 1024 * 1024


class MessagesFileError(EdgehubError):
    """A file of messages that cannot be read."""


@dataclass(slots=True)
class Line:
    """One line.

    :param number: of the line in the file, from 1; blank lines count.
    :param index: of the message, from 0; blank lines do not count.
    :param message: as `edgehub.router` takes it; None if the line is wrong.
    :param error: what is wrong with it; empty if nothing is.
    """

    number: int
    index: int
    message: dict[str, Any] | None
    error: str = ""

    def refuse(self, error: str) -> None:
        """Marks the line as wrong."""
        self.message = None
        self.error = error


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """The file, or standard input for `-`.

    :raises MessagesFileError: the file cannot be read.
    """
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise MessagesFileError(f"{path}: {error.strerror}") from None


def read_message(data: bytes) -> dict[str, Any]:
    """Reads one message.

    :raises ValueError: not a JSON object, or a name stands in it twice.
    """
    value = parse(data)
    if not isinstance(value, dict):
        raise ValueError('expected a JSON object such as {"properties": {"temp": "20"}, "body": "..."}')
    return value


def batches(stream: BinaryIO) -> Iterator[list[Line]]:
    """Messages in batches of at most :data:`BATCH_MSGS`, as soon as they are there: never waits for more."""
    number = index = 0
    for pieces in _pieces(stream):
        batch: list[Line] = []
        for data in pieces:
            number += 1
            if data is None or data.strip():
                batch.append(_line(number, index, data))
                index += 1
        yield from (batch[at : at + BATCH_MSGS] for at in range(0, len(batch), BATCH_MSGS))


def _line(number: int, index: int, data: bytes | None) -> Line:
    line = Line(number, index, None)
    if data is None:
        line.refuse(f"longer than {LINE_BYTES_MAX} bytes")
        return line
    try:
        line.message = read_message(data)
    except ValueError as error:
        line.refuse(str(error))
    return line


def _pieces(stream: BinaryIO) -> Iterator[list[bytes | None]]:
    """Lines read with one call; None stands for one that is too long, of which no more is kept."""
    held: bytes | None = b""
    while chunk := stream.read1(READ_BYTES):  # type: ignore[attr-defined]
        first, *others = chunk.split(b"\n")
        pieces = [_joined(held, first), *map(_bounded, others)]
        held = pieces.pop()
        yield pieces
    if held != b"":
        yield [held]


def _joined(held: bytes | None, more: bytes) -> bytes | None:
    return None if held is None else _bounded(held + more)


def _bounded(data: bytes) -> bytes | None:
    return data if len(data) <= LINE_BYTES_MAX else None
