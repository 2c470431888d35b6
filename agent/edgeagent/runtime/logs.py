"""What containers wrote (agent spec 3.1)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeagent.runtime.containers import Containers
from edgeagent.runtime.engine import Engine, part
from edgeagent.runtime.log_frames import FrameParser, LogFrame, RawParser

IDLE_S = 60.0
"""Longest pause of a log that is not followed."""
TOTAL_S = 1800.0
"""Longest reading of a log that is not followed."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log; the engine applies them in the order since, until, tail.

    :param tail: last lines, None for all.
    :param since_ms: UTC since 1970, None for the beginning.
    :param until_ms: UTC since 1970, None for the end.
    :param follow: go on as it grows, until the container ends.
    :param timestamps: each line begins with its time.
    """

    tail: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    follow: bool = False
    timestamps: bool = False
    stdout: bool = True
    stderr: bool = True


@contextlib.asynccontextmanager
async def read_logs(
    engine: Engine, name: str, options: LogOptions | None = None
) -> AsyncIterator[AsyncIterator[LogFrame]]:
    """The log of a container of ours, frame by frame.

    ```python
    async with read_logs(engine, "sensor", LogOptions(tail=10)) as frames:
        async for frame in frames: ...
    ```

    Of a log that is followed, engines may leave out a last line without end.

    :raises EngineError: no such container, or a log driver that cannot be read.
    :raises EngineUnreachable: the engine went away.
    """
    options = options or LogOptions()
    details = await Containers(engine).inspect(name)
    # Only newer engines tell by the content type whether there are frames.
    config = details.get("Config")
    is_terminal = isinstance(config, Mapping) and config.get("Tty") is True
    path = f"/containers/{part(details['Id'])}/logs"
    idle_s, total_s = (None, None) if options.follow else (IDLE_S, TOTAL_S)
    async with engine.stream("GET", path, _query(options), idle_s=idle_s, total_s=total_s) as pieces:
        yield _frames(pieces, RawParser() if is_terminal else FrameParser())


async def _frames(pieces: AsyncIterator[bytes], parser: FrameParser | RawParser) -> AsyncIterator[LogFrame]:
    async for piece in pieces:
        for frame in parser.feed(piece):
            yield frame
    parser.finish()


def _query(options: LogOptions) -> dict[str, Any]:
    return {
        "follow": options.follow,
        "stdout": options.stdout,
        "stderr": options.stderr,
        "timestamps": options.timestamps,
        "since": _seconds(options.since_ms),
        "until": _seconds(options.until_ms),
        "tail": "all" if options.tail is None else max(0, options.tail),
    }


def _seconds(time_ms: int | None) -> str | None:
    """Seconds with a fraction, as the engine reads them."""
    return None if time_ms is None else f"{time_ms // 1000}.{time_ms % 1000:03d}"
