"""`iotedge list`, `logs`, `restart` and `support-bundle`, without the command line around them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from edgeagent.cli.module_table import HEADER, ModuleRow, module_rows, plain_table
from edgeagent.errors import AgentError
from edgeagent.management.client import BUNDLE_S, ManagementClient, ManagementError
from edgeagent.methods.times import parse_moment_s
from edgeagent.model.module import EDGE_AGENT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractContextManager

    from edgeagent.checks.situation import CheckOptions

STANDARD_OUTPUT = "-"
FILE_MODE = 0o600
_CONFLICT = 409


class UsageError(AgentError):
    """A command that was given something it cannot use."""


async def list_modules(client: ManagementClient, *, as_json: bool, is_terminal: bool) -> None:
    """Prints the table; what the agent says for machines."""
    modules = await client.modules()
    if as_json:
        print(json.dumps(modules, ensure_ascii=False))
        return
    rows = module_rows(modules, datetime.now(UTC))
    if is_terminal:
        _print_rich(rows)
        return
    for line in plain_table(rows):
        print(line)


def _print_rich(rows: Sequence[ModuleRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEADER:
        table.add_column(name, min_width=len(name), overflow="fold")
    colours = {"running": "green", "failed": "red", "dead": "red", "backoff": "yellow", "unhealthy": "yellow"}
    for row in rows:
        cells = [Text(cell) for cell in row.cells()]
        cells[1].stylize(colours.get(row.status, ""))
        table.add_row(*cells)
    Console().print(table)


def log_query(tail: str, since: str, until: str, *, follow: bool, now_s: float) -> dict[str, str]:
    """Query of the logs.

    :raises UsageError: a time or number that cannot be read.
    """
    if tail != "all" and not (tail.isascii() and tail.isdecimal()):
        raise UsageError(f'--tail "{tail}": expected a number of lines, or all')
    query = {"tail": tail, "follow": str(follow).lower()}
    for name, text in (("since", since), ("until", until)):
        if text:
            query[name] = _moment(name, text, now_s)
    return query


def _moment(name: str, text: str, now_s: float) -> str:
    try:
        return str(parse_moment_s(text, now_s))
    except (ValueError, OverflowError) as fault:
        raise UsageError(f"--{name} {fault}") from None


async def print_logs(client: ManagementClient, name: str, query: dict[str, str], output: BinaryIO) -> None:
    """Both outputs of a module, as they come."""
    async for frame in client.logs(name, query):
        output.write(frame.data)
        output.flush()


async def restart_module(client: ManagementClient, name: str) -> None:
    """Stops and starts it; a stop that fails is a warning (row X15)."""
    if name == EDGE_AGENT:
        # What would start it again is what is stopped.
        await client.act(name, "restart")
    else:
        try:
            await client.act(name, "stop")
        except ManagementError as fault:
            if fault.status is None:
                raise
            print(f"warn: {name} was not stopped gracefully: {fault}", file=sys.stderr)
        await client.act(name, "start")
    print(f"Restarted {name}\n")


def bundle_name(now: datetime) -> str:
    """File of a support bundle."""
    return f"support_bundle_{now:%Y_%m_%d_%H_%M_%S}_UTC.zip"


async def save_bundle(
    client: ManagementClient,
    query: dict[str, str],
    target: str,
    options: CheckOptions,
    say: Callable[[str], None],
) -> None:
    """Writes a support bundle, which the agent makes, or this command when there is no agent.

    :param target: file, or `-`.
    """
    say("Making support bundle")
    try:
        pieces = client.stream("/systeminfo/supportbundle", query, BUNDLE_S)
        first = await anext(pieces)
    except StopAsyncIteration:
        raise ManagementError(f"the agent at {client.address} sent no support bundle") from None
    except ManagementError as fault:
        if fault.status is not None:
            raise
        say(f"{fault}\nThe support bundle is made without it.")
        pieces = local_bundle(query, options)
        first = await anext(pieces)
    async with contextlib.aclosing(pieces):
        await _save(first, pieces, target)
    if target != STANDARD_OUTPUT:
        say(f"Created support bundle at {target}")


async def _save(first: bytes, pieces: AsyncGenerator[bytes, None], target: str) -> None:
    """Half a bundle is none."""
    try:
        with _opened(target) as file:
            try:
                file.write(first)
                async for piece in pieces:
                    file.write(piece)
                file.flush()
            except BaseException:
                _remove(target)
                raise
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise UsageError(f"{target} cannot be written: {fault.strerror or fault}") from None


def _remove(target: str) -> None:
    if target != STANDARD_OUTPUT:
        with contextlib.suppress(OSError):
            os.unlink(target)


def _opened(target: str) -> AbstractContextManager[BinaryIO]:
    if target == STANDARD_OUTPUT:
        return _Left(sys.stdout.buffer)
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb")


class _Left:
    """A file that is not closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> BinaryIO:
        return self._file

    def __exit__(self, *_: object) -> None:
        pass


async def local_bundle(query: dict[str, str], options: CheckOptions) -> AsyncGenerator[bytes, None]:
    """A bundle that this process makes of what the container engine knows."""
    from dataclasses import replace

    from edgeagent.checks.service import check_as_json, engine_address
    from edgeagent.management.bundle import BundleSources, SupportBundles
    from edgeagent.management.docker_view import DockerView
    from edgeagent.management.ports import BundleWanted
    from edgeagent.runtime.engine import Engine
    from edgeagent.workload.launch import LOG_FILE

    async def check(hub: str) -> str:
        return await check_as_json(replace(options, hub_hostname=hub or options.hub_hostname))

    wanted = BundleWanted(
        since_ms=int(query["since"]) * 1000 if "since" in query else None,
        until_ms=int(query["until"]) * 1000 if "until" in query else None,
        runtime_only=query.get("edge_runtime_only") == "true",
        hub_hostname=query.get("iothub_hostname", ""),
    )
    async with Engine(engine_address(options.config_file)) as engine:
        files = {"logs/workload.txt": options.home / LOG_FILE}
        bundles = SupportBundles(BundleSources(DockerView(engine), check, files))
        with await bundles.make(wanted) as file:
            while piece := file.read(64 * 1024):
                yield piece
