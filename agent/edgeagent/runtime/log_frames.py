"""Frames in which the engine sends what a container without terminal writes (agent spec 5.4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from edgeagent.runtime.errors import EngineAnswerError

HEADER_BYTES = 8
FRAME_BYTES_MAX = 4 * 1024 * 1024
"""Longest frame; the engine cuts lines at 16 KiB, some log drivers at 1 MiB."""
_KINDS = (0, 1, 2, 3)


class LogStream(IntEnum):
    """Where a piece was written."""

    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class LogFrame:
    """One write of a container, most often a line with its end."""

    stream: LogStream
    data: bytes

    def encode(self) -> bytes:
        """With its header, as the management API gives it on."""
        return bytes((self.stream, 0, 0, 0)) + len(self.data).to_bytes(4, "big") + self.data


class FrameParser:
    """Takes bytes in any pieces and gives each frame when it is whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[LogFrame]:
        """Frames that are whole now; empty ones are left out.

        :raises EngineAnswerError: not frames, or one that is too long.
        """
        self._rest += data
        frames: list[LogFrame] = []
        start = 0
        while (end := self._end(start)) is not None:
            if end > start + HEADER_BYTES:
                kind = LogStream.STDERR if self._rest[start] >= LogStream.STDERR else LogStream.STDOUT
                frames.append(LogFrame(kind, bytes(self._rest[start + HEADER_BYTES : end])))
            start = end
        del self._rest[:start]
        return frames

    def finish(self) -> None:
        """:raises EngineAnswerError: the stream broke off inside of a frame."""
        if self._rest:
            raise EngineAnswerError(f"the log broke off {len(self._rest)} bytes into a frame")

    def _end(self, start: int) -> int | None:
        """Where the frame that begins at `start` ends; None when it is not whole yet."""
        header = self._rest[start : start + HEADER_BYTES]
        if len(header) < HEADER_BYTES:
            return None
        if header[0] not in _KINDS or any(header[1:4]):
            raise EngineAnswerError(f"the log has {header.hex()} in place of the header of a frame")
        length = int.from_bytes(header[4:], "big")
        if length > FRAME_BYTES_MAX:
            raise EngineAnswerError(
                f"the log has a frame of {length} bytes; at most {FRAME_BYTES_MAX} are taken"
            )
        end = start + HEADER_BYTES + length
        return end if end <= len(self._rest) else None


class RawParser:
    """The log of a container with a terminal: no frames, all of it standard output."""

    def feed(self, data: bytes) -> list[LogFrame]:
        return [LogFrame(LogStream.STDOUT, data)] if data else []

    def finish(self) -> None:
        pass
