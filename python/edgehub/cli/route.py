"""`edgehub route check`: compiles routes and shows every fault before a device ever sees them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgehub.config.desired import DesiredConfigError, RouteSpec, parse_desired
from edgehub.hub.desired_files import DesiredFileError, read_desired_file

if TYPE_CHECKING:
    from edgehub._core import RouteFault
    from edgehub.hub.ports import CheckRoutes

OK = 0
FAULTY = 1
UNREADABLE = 2

route_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Work with routes.", rich_markup_mode=None
)


@dataclass(slots=True)
class CheckResult:
    """Outcome of a check.

    :param problem: why the document is refused before any route is compiled; empty if it is not.
    """

    routes: tuple[RouteSpec, ...] = ()
    faults: tuple[RouteFault, ...] = ()
    problem: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def valid(self) -> bool:
        return not self.faults and not self.problem


def check_document(document: dict[str, Any], edge_device_id: str, check_routes: CheckRoutes) -> CheckResult:
    """Validates a desired document the way the hub does."""
    try:
        config = parse_desired(document)
    except DesiredConfigError as error:
        return CheckResult(problem=str(error))
    tuples = [(route.name, route.text, route.priority, route.ttl_secs) for route in config.routes]
    return CheckResult(config.routes, tuple(check_routes(edge_device_id, tuples)), warnings=config.warnings)


@route_app.callback()
def _routes() -> None:
    """Work with routes."""


@route_app.command()
def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Desired properties of $edgeHub, or a whole deployment manifest, as JSON."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    device: Annotated[
        str, typer.Option(help="Device id of the edge device; default: IOTEDGE_DEVICEID, else `device`.")
    ] = "",
) -> None:
    """Check the routes of FILE. Exit code 0: all right, 1: faults, 2: the file cannot be read."""
    from edgehub import _core

    try:
        document = read_desired_file(file)
    except DesiredFileError as error:
        typer.echo(f"edgehub: {error}", err=True)
        raise typer.Exit(UNREADABLE) from None
    edge_device_id = device or os.environ.get("IOTEDGE_DEVICEID", "") or "device"
    result = check_document(document, edge_device_id, _core.check_routes)
    typer.echo(result_as_json(result) if as_json else result_as_text(result))
    if not result.valid:
        raise typer.Exit(FAULTY)


def result_as_json(result: CheckResult) -> str:
    """One JSON object, stable for tools."""
    import json

    faults = [
        {
            "route": fault.route,
            "message": fault.text,
            "line": fault.line,
            "column": fault.column,
            "endLine": fault.end_line,
            "endColumn": fault.end_column,
        }
        for fault in result.faults
    ]
    routes = [
        {
            "name": route.name,
            "route": route.text,
            "priority": route.priority,
            "timeToLiveSecs": route.ttl_secs,
        }
        for route in result.routes
    ]
    shown = {
        "valid": result.valid,
        "error": result.problem or None,
        "warnings": list(result.warnings),
        "routes": routes,
        "faults": faults,
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def result_as_text(result: CheckResult) -> str:
    """Lines for people: each fault with its place underlined."""
    lines = [f"warning: {warning}" for warning in result.warnings]
    if result.problem:
        return "\n".join([*lines, f"error: {result.problem}"])
    texts = {route.name: route.text for route in result.routes}
    for fault in result.faults:
        lines += [f"{fault.route}:{fault.line}:{fault.column}: {fault.text}", *_marked(texts, fault)]
    faulty = len({fault.route for fault in result.faults})
    lines.append(
        f"{len(result.routes)} route(s), {faulty} with faults"
        if faulty
        else f"{len(texts)} route(s), all right"
    )
    return "\n".join(lines)


def _marked(texts: dict[str, str], fault: RouteFault) -> list[str]:
    """The line of the route with carets below the faulty part; nothing if the place is not in the text."""
    lines = texts.get(fault.route, "").splitlines()
    if not 1 <= fault.line <= len(lines):
        return []
    line = lines[fault.line - 1]
    end = fault.end_column if fault.end_line == fault.line else len(line) + 1
    width = max(1, end - fault.column)
    return [f"    {line}", "    " + " " * (fault.column - 1) + "^" * width]
