"""Clients of unmodified SDKs as child processes that speak a line of JSON for each order."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

HERE = Path(__file__).parent
NODE_MODULES: Final = HERE / "node" / "node_modules"
PATIENCE_S: Final = 30.0
LINE_BYTES_MAX: Final = 1 << 20

COMMANDS: Final = {
    "python": (sys.executable, str(HERE / "python_driver.py")),
    "node": ("node", str(HERE / "node" / "driver.js")),
}


class DriverError(Exception):
    """The SDK failed at an order."""


class Driver:
    """One client. Use as an asynchronous context manager.

    :param sdk: key of `COMMANDS`.
    """

    def __init__(self, sdk: str) -> None:
        self._sdk = sdk
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._heard: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._errors = bytearray()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *COMMANDS[self._sdk], stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_BYTES_MAX
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(*self._readers)
        if error is not None and self._errors:
            error.add_note(f"{self._sdk} driver: {self._errors[-4000:].decode(errors='replace')}")

    async def order(self, op: str, **more: Any) -> Any:
        """Does something and gives its result.

        :raises DriverError: it failed, or took too long.
        """
        number = next(self._ids)
        done = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **more}).encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await done
        except TimeoutError:
            raise DriverError(f"{self._sdk}: {op} does not end") from None

    async def heard(self, event: str) -> dict[str, Any]:
        """The next event of a kind."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._queue(event).get()
        except TimeoutError:
            raise DriverError(f"{self._sdk}: no {event} was heard") from None

    def nothing_heard(self, event: str) -> bool:
        """Whether no event of a kind is left."""
        return self._queue(event).empty()

    def _queue(self, event: str) -> asyncio.Queue[dict[str, Any]]:
        return self._heard.setdefault(event, asyncio.Queue())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "event" in told:
                self._queue(told["event"]).put_nowait(told)
                continue
            done = self._answers.pop(told["id"])
            if done.done():
                continue
            if "error" in told:
                done.set_exception(DriverError(f"{self._sdk}: {told['error']}"))
            else:
                done.set_result(told["result"])
        for done in self._answers.values():
            if not done.done():
                done.set_exception(DriverError(f"{self._sdk}: the driver has ended"))

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self._errors += data
            del self._errors[:-LINE_BYTES_MAX]
