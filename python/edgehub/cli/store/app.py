"""The commands `edgehub store ls`, `verify`, `peek` and `export`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub._core import StoredMessage, StoreInspector, StoreQueue

OK = 0
BAD = 1
PROGRESS_MSGS = 1000
"""Messages between two signs of life."""

_DIR = """\
DIR is the folder of a store, or the base folder it lies in; without it, the folder of the hub by its settings
(StorageFolder). The hub may be running: nothing is locked or changed. What was acknowledged in the last
moments may still be shown."""

_QUEUE = """\
QUEUE is the id of the endpoint as `edgehub store ls` shows it, such as `iothub` or `edge1/filter/input1`,
followed by `:priority` if it has several."""

_LS = f"""\
List the queues, segments and spill files of a message store, and what was lost from it and why.

Losses are those since the folder was made, over all runs of the hub; the last 1000 of them are known one by
one (--losses, or --json). A running hub writes them down a second after the first, and once a minute while
there are more.

{_DIR}

Exit code 0: all right, 1: the store cannot be read, 2: wrong usage.

Examples:

\b
  edgehub store ls
  edgehub store ls --losses
  edgehub store ls /var/lib/edgehub --json
"""

_VERIFY = f"""\
Check every checksum of a message store; say what is damaged, with file and offset. All of its files are
read, those with old backlog (spill-*.lz4) too.

{_DIR}

A torn end, of what was being written at a crash or is just now, is no damage.

Exit code 0: sound, 1: damaged, or the store cannot be read, 2: wrong usage.

Examples:

\b
  edgehub store verify
  edgehub store verify /mnt/backup/messages --json
"""

_PEEK = f"""\
Show the next messages of a queue. They stay in it.

{_QUEUE}

{_DIR}

Exit code 0: all right, 1: no such queue, or a message cannot be read, 2: wrong usage.

Examples:

\b
  edgehub store peek iothub
  edgehub store peek edge1/filter/input1:5 --count 3 --json
"""

_EXPORT = f"""\
Write all messages of a queue as JSON, one on each line. They stay in it.

{_QUEUE}

{_DIR}

A line is {{"source", "systemProperties", "properties", "body" or "bodyBase64", "seq", "expiresAt",
"enqueuedAt"}}; expiresAt is null if the message never expires. A payload that is no message of the hub is
{{"seq", "expiresAt", "error", "payloadBase64"}}.

Exit code 0: all right, 1: no such queue, or a message cannot be read, 2: wrong usage.

Examples:

\b
  edgehub store export iothub --output backlog.jsonl
  edgehub store export iothub /mnt/backup/messages | jq .body
"""

store_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Look into a message store.", rich_markup_mode=None
)

FolderArgument = Annotated[Path | None, typer.Argument(metavar="DIR", help="Folder of the store.")]
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="Endpoint id, or id:priority.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@store_app.callback()
def _store() -> None:
    """Look into a message store."""


@store_app.command(help=_LS)
def ls(
    folder: FolderArgument = None,
    as_json: JsonOption = False,
    one_by_one: Annotated[bool, typer.Option("--losses", help="Show the last losses one by one.")] = False,
) -> None:
    """Lists queues, segments, spill files and losses."""
    from edgehub.cli.store import losses, report
    from edgehub.cli.tables import print_tables

    place, store = _open(folder)
    if as_json:
        typer.echo(report.ls_as_json(place, store, losses.losses_as_json(store)))
        return
    tables = [report.queue_table(store), report.segment_table(store)]
    if store.spill_files():
        tables.append(report.spill_table(store))
    if store.loss_totals():
        tables.append(losses.totals_table(store))
    if one_by_one:
        tables.append(losses.last_table(store))
    print_tables(tables)
    typer.echo(report.summary(store))
    if store.losses_error:
        _tell(f"losses.txt: {store.losses_error}; what was lost is not known")
    if not store.is_sound:
        _tell("some of it is damaged; `edgehub store verify` says where")


@store_app.command(help=_VERIFY)
def verify(folder: FolderArgument = None, as_json: JsonOption = False) -> None:
    """Checks all checksums."""
    from edgehub.cli.store import report

    place, store = _open(folder, verify=True)
    lines = [report.verify_as_json(place, store)] if as_json else report.verify_as_lines(store)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(OK if store.is_sound else BAD)


@store_app.command(help=_PEEK)
def peek(
    queue: QueueArgument,
    folder: FolderArgument = None,
    count: Annotated[int, typer.Option(min=1, help="Messages to show.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Shows the next messages."""
    from edgehub.cli.store.lines import message_as_json, message_as_text

    place, store = _open(folder)
    walk = _Walk(place, store, _queue(store, queue))
    for message in islice(walk, count):
        typer.echo(message_as_json(message) if as_json else message_as_text(message))
    raise typer.Exit(BAD if walk.unread else OK)


@store_app.command(help=_EXPORT)
def export(
    queue: QueueArgument,
    folder: FolderArgument = None,
    output: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
) -> None:
    """Writes all messages."""
    place, store = _open(folder)
    walk = _Walk(place, store, _queue(store, queue))
    try:
        written = _export(walk, output)
    except EdgehubError as error:
        _fail(error)
    if output is not None:
        _tell(f"{written:,} message{'' if written == 1 else 's'} written to {output}")
    raise typer.Exit(BAD if walk.unread else OK)


def _export(walk: _Walk, output: Path | None) -> int:
    from edgehub.cli.progress import Progress
    from edgehub.cli.store.lines import message_as_json
    from edgehub.cli.store.output import open_output

    progress, written = Progress(), 0
    try:
        with open_output(output) as file:
            for message in walk:
                file.write(message_as_json(message) + "\n")
                written += 1
                if written % PROGRESS_MSGS == 0:
                    progress.tell(written)
    finally:
        progress.clear()
    return written


class _Walk:
    """Messages of a queue; those that cannot be read are told of, counted and left out."""

    def __init__(self, folder: Path, store: StoreInspector, queue: StoreQueue) -> None:
        self._folder = folder
        self._blocks = store.spill_blocks(queue.id)
        self._in_journal = store.journal(queue.id)
        self._wall_skew_ms = store.wall_skew_ms
        self.unread = 0

    def __iter__(self) -> Iterator[StoredMessage]:
        from edgehub.store_files import read_spilled

        yield from read_spilled(self._folder, self._blocks, self._leave_out, wall_skew_ms=self._wall_skew_ms)
        yield from self._journal()

    def _leave_out(self, reason: str, messages: int) -> None:
        self.unread += messages
        _tell(f"{reason}; {messages:,} message{'' if messages == 1 else 's'} left out")

    def _journal(self) -> Iterator[StoredMessage]:
        from edgehub._core import StoreError

        while True:
            try:
                message = next(self._in_journal, None)
            except StoreError as error:
                self.unread += 1
                _tell(str(error))
                continue
            if message is None:
                return
            yield message


def _open(given: Path | None, *, verify: bool = False) -> tuple[Path, StoreInspector]:
    from edgehub._core import StoreError, StoreInspector
    from edgehub.cli.store.locate import locate
    from edgehub.common.limits import raise_file_limit

    raise_file_limit()
    try:
        folder = locate(given)
        store = StoreInspector(folder, verify=verify)
    except (EdgehubError, StoreError) as error:
        _fail(error)
    if store.missed:
        _tell(f"{store.missed} files came or went meanwhile; try again for the whole picture")
    return folder, store


def _queue(store: StoreInspector, given: str) -> StoreQueue:
    from edgehub.cli.store.locate import choose_queue

    try:
        return choose_queue(store.queues(), given)
    except EdgehubError as error:
        _fail(error)


def _tell(text: str) -> None:
    typer.echo(f"edgehub: {text}", err=True)


def _fail(error: object) -> NoReturn:
    _tell(str(error))
    raise typer.Exit(BAD) from None
