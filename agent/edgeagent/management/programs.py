"""Output of programs of the system, with limits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

PROGRAM_S = 60.0
READ_BYTES = 64 * 1024


class ProgramError(AgentError):
    """A program is not there, or takes too long."""


async def program_output(
    arguments: Sequence[str], deadline_s: float = PROGRAM_S
) -> AsyncGenerator[bytes, None]:
    """What a program writes to both its outputs, piece by piece; it is ended when nobody reads on.

    :raises ProgramError: it is not on this system, or takes too long.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as fault:
        raise ProgramError(f"{arguments[0]} cannot be started: {fault.strerror or fault}") from None
    assert process.stdout is not None
    try:
        ends_s = asyncio.get_running_loop().time() + deadline_s
        while True:
            async with asyncio.timeout_at(ends_s):
                piece = await process.stdout.read(READ_BYTES)
            if not piece:
                break
            yield piece
    except TimeoutError:
        raise ProgramError(f"{arguments[0]} took longer than {deadline_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
