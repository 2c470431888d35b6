"""Support bundles: what somebody needs who is to help from afar, in one zip file (agent spec 8.1, row X24).

| file | what |
|---|---|
| `check.json` | outcome of `iotedge check` |
| `logs/<module>_log.txt` | log of a module, or `..._err.txt` with the reason why there is none |
| `inspect/<module>.json` | what the engine says of its container, or `..._err.json` |
| `network/<name>.json` | networks of the engine |
| `logs/aziot-edged.txt`, `logs/docker.txt` | what the system's journal has of agent and engine |
| `logs/workload.txt` | log of the workload service |

Secrets are hidden (:mod:`edgeagent.management.redaction`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeagent.errors import AgentError
from edgeagent.management.bundle_file import BundleError, BundleFile
from edgeagent.management.ports import BundleWanted, EngineView
from edgeagent.management.programs import program_output
from edgeagent.management.redaction import redacted_document, redacted_line
from edgeagent.methods.times import parse_moment_s
from edgeagent.model.module import SYSTEM_MODULES
from edgeagent.runtime.logs import LogOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

MODULE_LINES_MAX = 100_000
"""Of one module's log, the last ones."""
BUNDLE_S = 900.0
IN_MEMORY_BYTES_MAX = 32 * 1024 * 1024
JOURNAL_UNITS: Mapping[str, tuple[str, ...]] = {
    "logs/aziot-edged.txt": ("edgeagent", "aziot-edged"),
    "logs/docker.txt": ("docker",),
}
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class BundleSources:
    """Where the parts come from.

    :param check: outcome of `iotedge check` as JSON, for a hub, blank for the one that is configured.
    :param files: files of the device by their name in the bundle, such as `logs/workload.txt`.
    :param folder: for the file while it grows; None for the system's place.
    """

    engine: EngineView
    check: Callable[[str], Awaitable[str]]
    files: Mapping[str, Path] = field(default_factory=dict)
    units: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: JOURNAL_UNITS)
    folder: Path | None = None
    now_s: Callable[[], float] = time.time


class SupportBundles:
    """Makes bundles, one at a time; more wait. :class:`~edgeagent.management.ports.Bundles`."""

    def __init__(self, sources: BundleSources) -> None:
        self._sources = sources
        self._making = asyncio.Lock()

    async def make_bundle(self, since: str | None, until: str | None, runtime_only: bool) -> bytes:
        """A bundle in memory, for the method UploadSupportBundle.

        :param since: as people write times; None from the beginning.
        :raises BundleError: a time that cannot be read, or a bundle that is too large for the memory.
        """
        try:
            wanted = BundleWanted(self._moment_ms(since), self._moment_ms(until), runtime_only)
        except (ValueError, OverflowError) as fault:
            raise BundleError(str(fault)) from None
        with await self.make(wanted) as file:
            content = await asyncio.to_thread(file.read, IN_MEMORY_BYTES_MAX + 1)
        if len(content) > IN_MEMORY_BYTES_MAX:
            raise BundleError(
                f"the support bundle has more than {IN_MEMORY_BYTES_MAX} bytes; ask for less with since, "
                "or edgeRuntimeOnly"
            )
        return content

    def _moment_ms(self, text: str | None) -> int | None:
        return None if text is None else parse_moment_s(text, self._sources.now_s()) * 1000

    async def make(self, wanted: BundleWanted) -> BinaryIO:
        """A bundle in a temporary file.

        :raises BundleError: it cannot be written, or takes too long.
        """
        try:
            async with asyncio.timeout(BUNDLE_S), self._making:
                return await self._make(wanted)
        except TimeoutError:
            raise BundleError(f"the support bundle took longer than {BUNDLE_S:g} s") from None

    async def _make(self, wanted: BundleWanted) -> BinaryIO:
        bundle = BundleFile(self._sources.folder)
        try:
            await bundle.add("check.json", (await self._check(wanted.hub_hostname)).encode())
            for name in await self._module_names(bundle, wanted):
                await self._add_module(bundle, name, wanted)
            await self._add_networks(bundle)
            for name, units in self._sources.units.items():
                await _add_or_say(bundle, name, _lines(program_output(_journal(units, wanted))))
            for name, file in self._sources.files.items():
                await _add_or_say(bundle, name, _lines(_content(file)))
            return await asyncio.to_thread(bundle.finish)
        except BaseException:
            bundle.drop()
            raise

    async def _check(self, hub_hostname: str) -> str:
        try:
            return await self._sources.check(hub_hostname)
        except AgentError as fault:
            return json.dumps({"error": str(fault)})

    async def _module_names(self, bundle: BundleFile, wanted: BundleWanted) -> Iterable[str]:
        try:
            names = sorted(await self._sources.engine.modules())
        except AgentError as fault:
            await bundle.add("inspect/modules_err.json", _error(fault))
            return ()
        return [name for name in names if name in SYSTEM_MODULES or not wanted.runtime_only]

    async def _add_module(self, bundle: BundleFile, name: str, wanted: BundleWanted) -> None:
        safe = _NO_FILE_NAME.sub("_", name)
        await _add_or_say(bundle, f"logs/{safe}_log.txt", self._module_log(name, wanted))
        try:
            details = redacted_document(await self._sources.engine.inspect(name))
        except AgentError as fault:
            await bundle.add(f"inspect/{safe}_err.json", _error(fault))
        else:
            await bundle.add(f"inspect/{safe}.json", _json(details))

    async def _module_log(self, name: str, wanted: BundleWanted) -> AsyncGenerator[bytes, None]:
        options = LogOptions(MODULE_LINES_MAX, wanted.since_ms, wanted.until_ms)
        async with self._sources.engine.logs(name, options) as frames:
            async for frame in frames:
                yield redacted_line(frame.data)

    async def _add_networks(self, bundle: BundleFile) -> None:
        try:
            networks = await self._sources.engine.networks()
        except AgentError as fault:
            await bundle.add("network/networks_err.json", _error(fault))
            return
        for number, network in enumerate(networks):
            safe = _NO_FILE_NAME.sub("_", str(network.get("Name") or number))
            await bundle.add(f"network/{safe}.json", _json(redacted_document(network)))


async def _add_or_say(bundle: BundleFile, name: str, pieces: AsyncGenerator[bytes, None]) -> None:
    """A file of pieces; when they cannot be had, a file beside it that says why."""
    try:
        async with contextlib.aclosing(pieces):
            await bundle.add_stream(name, pieces)
    except BundleError:
        raise
    except (AgentError, OSError) as fault:
        stem, _, ending = name.rpartition(".")
        await bundle.add(f"{stem}_err.{ending}", f"{fault}\n".encode())


async def _lines(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Whole lines, so that no secret is cut in two, without their secrets."""
    rest = b""
    async for piece in pieces:
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            yield redacted_line(whole + newline)
    if rest:
        yield redacted_line(rest)


async def _content(file: Path) -> AsyncGenerator[bytes, None]:
    with await asyncio.to_thread(file.open, "rb") as opened:
        while piece := await asyncio.to_thread(opened.read, 64 * 1024):
            yield piece


def _journal(units: Iterable[str], wanted: BundleWanted) -> list[str]:
    arguments = ["journalctl", "--no-pager", f"--lines={MODULE_LINES_MAX}"]
    arguments += [f"--unit={unit}" for unit in units]
    if wanted.since_ms is not None:
        arguments.append(f"--since=@{wanted.since_ms // 1000}")
    if wanted.until_ms is not None:
        arguments.append(f"--until=@{wanted.until_ms // 1000}")
    return arguments


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2).encode()


def _error(fault: Exception) -> bytes:
    return _json({"error": str(fault)})
