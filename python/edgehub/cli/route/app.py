"""The commands `edgehub route check`, `explain` and `match`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgehub.cli.route.message_lines import Line
    from edgehub.cli.route.report import RouteNotes
    from edgehub.cli.route.routes_file import RoutesFile
    from edgehub.cli.route.tally import Tally
    from edgehub.router import Router

OK = 0
BAD = 1

_FORMS = """\
FILE holds the routes as the twin does, a JSON object of name to route, or of name to {"route", "priority",
"timeToLiveSecs"}; or all desired properties of $edgeHub; or a deployment manifest."""

_MESSAGE = """\
A message is a JSON object: {"source": "/messages/modules/m1/outputs/o1", "systemProperties": {...},
"properties": {...}, "body": "text"}. Everything may be left out; "bodyBase64" takes the place of "body" for
bytes that are no text; the source of a device is /messages/."""

_CHECK = f"""\
Check the routes of FILE: every error and every oddity, with its place and what would be right.

{_FORMS}

Exit code 0: no errors, 1: errors, or FILE cannot be read, 2: wrong usage.

Examples:

\b
  edgehub route check routes.json
  edgehub route check deployment.json --json
  edgehub route check routes.json --device gateway-7
"""

_EXPLAIN = f"""\
Explain where one message goes and why: every route, every part of its condition with its value.

{_FORMS}

{_MESSAGE}

Exit code 0: all right, 1: a bad route or message, or a file cannot be read, 2: wrong usage.

Examples:

\b
  edgehub route explain routes.json --message message.json
  echo '{{"properties": {{"temp": "31"}}}}' | edgehub route explain routes.json --message - --json
"""

_MATCH = f"""\
Match a file of messages, one on each line, and count what each route and endpoint gets.

{_FORMS}

{_MESSAGE}

With --json, one line for each message: {{"index", "verdicts": {{name: "true", "false" or "undefined"}},
"deliveries": [{{"endpoint", "route", "priority", "ttlSecs"}}]}}, or {{"index", "error"}}.

Exit code 0: all right, 1: a bad route or line, or a file cannot be read, 2: wrong usage.

Examples:

\b
  edgehub route match routes.json --messages messages.jsonl
  tail -f messages.jsonl | edgehub route match routes.json --messages - --json
"""

route_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Work with routes.", rich_markup_mode=None
)

RoutesFileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Routes as JSON.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeviceOption = Annotated[
    str, typer.Option(help="Device id of the edge device; default: IOTEDGE_DEVICEID, else `device`.")
]


@route_app.callback()
def _routes() -> None:
    """Work with routes."""


@route_app.command(help=_CHECK)
def check(file: RoutesFileArgument, as_json: JsonOption = False, device: DeviceOption = "") -> None:
    """Checks routes."""
    from edgehub.cli.route import report

    declared = _read_routes(file)
    notes = report.check_routes(declared, _device_id(device))
    for line in [report.notes_as_json(notes)] if as_json else report.notes_as_lines(declared, notes):
        typer.echo(line)
    wrong = any(of.errors for of in notes.values())
    raise typer.Exit(BAD if wrong or declared.problem else OK)


@route_app.command(help=_EXPLAIN)
def explain(
    file: RoutesFileArgument,
    message: Annotated[Path, typer.Option(help="File with one message as JSON; `-` is standard input.")],
    as_json: JsonOption = False,
    device: DeviceOption = "",
) -> None:
    """Explains one message."""
    router, all_right = _usable_router(file, device)
    explanation = _explanation(router, message)
    typer.echo(explanation.json if as_json else explanation.text.rstrip("\n"))
    raise typer.Exit(OK if all_right else BAD)


@route_app.command(help=_MATCH)
def match(
    file: RoutesFileArgument,
    messages: Annotated[Path, typer.Option(help="File with one message a line; `-` is standard input.")],
    as_json: JsonOption = False,
    device: DeviceOption = "",
) -> None:
    """Matches a file of messages."""
    from edgehub.cli.route.tally import Tally

    router, all_right = _usable_router(file, device)
    tally = Tally()
    try:
        _match_file(router, messages, tally, as_json)
    except KeyboardInterrupt:
        # What was counted so far is what someone who watches a stream wants to see.
        _tell(f"interrupted after {tally.messages:,} messages")
        all_right = False
    if not as_json:
        _print_tally(router, tally)
    raise typer.Exit(OK if all_right and not tally.wrong else BAD)


def _read_routes(file: Path) -> RoutesFile:
    """Reads the file; tells what is wrong around the routes."""
    from edgehub.cli.route.routes_file import read_routes_file

    try:
        declared = read_routes_file(file)
    except EdgehubError as error:
        _fail(error)
    for warning in declared.warnings:
        _tell(f"warning: {file}: {warning}")
    if declared.problem:
        _tell(f"{file}: {declared.problem}")
    return declared


def _usable_router(file: Path, device: str) -> tuple[Router, bool]:
    """A router of the routes that are right, and whether all are; the others are told of, once each."""
    from edgehub.cli.route.report import check_routes
    from edgehub.router import RouteError, Router

    declared = _read_routes(file)
    edge_device_id = _device_id(device)
    notes = check_routes(declared, edge_device_id)
    _tell_errors(notes)
    wrong = {name for name, of in notes.items() if of.errors}
    if wrong - declared.routes.keys():
        # Something is wrong with all of them together, so none can be used.
        raise typer.Exit(BAD)
    usable = {name: value for name, value in declared.routes.items() if name not in wrong}
    try:
        router = Router(usable, edge_device_id=edge_device_id, schema=declared.schema)
    except RouteError as error:
        _fail(error)
    return router, not declared.problem and not wrong


def _tell_errors(notes: Mapping[str, RouteNotes]) -> None:
    for name, of in notes.items():
        if of.errors:
            texts = "; ".join(f"{note.line}:{note.column}: {note.message}" for note in of.errors)
            _tell(f"route '{name}' left out: {texts}" if name else f"all routes: {texts}")


def _explanation(router: Router, message: Path) -> Any:
    from edgehub.cli.route.message_lines import LINE_BYTES_MAX, open_input, read_message

    try:
        with open_input(message) as stream:
            data = stream.read(LINE_BYTES_MAX + 1)
        if len(data) > LINE_BYTES_MAX:
            raise ValueError(f"longer than {LINE_BYTES_MAX} bytes")
        return router.explain(read_message(data))
    except EdgehubError as error:
        _fail(error)
    except ValueError as error:
        _fail(f"{message}: {error}")


def _match_file(router: Router, messages: Path, tally: Tally, as_json: bool) -> None:
    from edgehub.cli.progress import Progress
    from edgehub.cli.route.matching import line_as_json, match_batch
    from edgehub.cli.route.message_lines import batches, open_input

    progress = Progress()
    try:
        with open_input(messages) as stream:
            for batch in batches(stream):
                outcomes = list(match_batch(router, batch))
                progress.clear()
                _tell_wrong_lines(messages, (line for line, _ in outcomes))
                for _, outcome in outcomes:
                    tally.add_wrong() if outcome is None else tally.add(*outcome)
                if as_json:
                    sys.stdout.write("".join(f"{line_as_json(*found)}\n" for found in outcomes))
                    sys.stdout.flush()
                progress.tell(tally.messages)
    except EdgehubError as error:
        _fail(error)
    finally:
        progress.clear()


def _tell_wrong_lines(messages: Path, lines: Iterable[Line]) -> None:
    for line in lines:
        if line.message is None:
            _tell(f"{messages}:{line.number}: {line.error}")


def _print_tally(router: Router, tally: Tally) -> None:
    from edgehub.cli.tables import print_tables

    print_tables([tally.route_table(router.routes), tally.endpoint_table(router.endpoints)])
    typer.echo(tally.summary())


def _device_id(given: str) -> str:
    return given or os.environ.get("IOTEDGE_DEVICEID", "") or "device"


def _tell(text: str) -> None:
    typer.echo(f"edgehub: {text}", err=True)


def _fail(error: object) -> NoReturn:
    _tell(str(error))
    raise typer.Exit(BAD) from None
