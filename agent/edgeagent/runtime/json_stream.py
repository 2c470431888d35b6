"""JSON objects one after the other, as the engine writes progress and events. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeagent.runtime.errors import EngineAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECT_BYTES_MAX = 1024 * 1024
"""Longest line; a longer one is an error, as it could grow without end."""

_decoder = json.JSONDecoder()


class JsonStream:
    """Takes bytes in any pieces and gives each object when its line is whole.

    The engine ends each object with a line break, which JSON text has nowhere inside. Several on one line
    are taken apart.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Objects that are whole now.

        :raises EngineAnswerError: not JSON, not objects, or a line that is too long.
        """
        found: list[dict[str, Any]] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._keep(data[start:end])
            found.extend(self._line())
            start = end + 1
        self._keep(data[start:])
        return found

    def finish(self) -> list[dict[str, Any]]:
        """Objects of a last line without line break.

        :raises EngineAnswerError: the stream broke off inside of an object.
        """
        return list(self._line())

    def _keep(self, piece: bytes) -> None:
        if len(self._rest) + len(piece) > OBJECT_BYTES_MAX:
            raise EngineAnswerError(f"the container engine sent a line of more than {OBJECT_BYTES_MAX} bytes")
        self._rest += piece

    def _line(self) -> Iterator[dict[str, Any]]:
        line, self._rest = self._rest, bytearray()
        try:
            text = line.decode("utf-8", "replace").strip()
            while text:
                value, end = _decoder.raw_decode(text)
                if not isinstance(value, dict):
                    raise EngineAnswerError(f"the container engine sent {text[:40]!r} in place of an object")
                yield value
                text = text[end:].lstrip()
        except (ValueError, RecursionError) as fault:
            raise EngineAnswerError(f"the container engine sent what is not JSON: {fault}") from None
