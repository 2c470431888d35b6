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
BATCH_BYTES = 8 * 1024 * 1024


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
    """Lines in batches of at most :data:`BATCH_MSGS`, and little more than :data:`BATCH_BYTES`."""
    batch: list[Line] = []
    held_bytes = 0
    for line, line_bytes in _lines(stream):
        batch.append(line)
        held_bytes += line_bytes
        if len(batch) == BATCH_MSGS or held_bytes >= BATCH_BYTES:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch


def _lines(stream: BinaryIO) -> Iterator[tuple[Line, int]]:
    """Each message with the bytes of its line."""
    number = index = 0
    while data := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        cut = len(data) > LINE_BYTES_MAX and not data.endswith(b"\n")
        if not cut and not data.strip():
            continue
        line = Line(number, index, None)
        index += 1
        if cut:
            _skip_line(stream)
            line.refuse(f"longer than {LINE_BYTES_MAX} bytes")
        else:
            _fill(line, data)
        yield line, len(data)


def _skip_line(stream: BinaryIO) -> None:
    while rest := stream.readline(LINE_BYTES_MAX):
        if rest.endswith(b"\n"):
            return


def _fill(line: Line, data: bytes) -> None:
    try:
        line.message = read_message(data)
    except ValueError as error:
        line.refuse(str(error))
