"""Files with routes: the routes alone, the desired properties of `$edgeHub`, or a deployment manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgehub.cli.route.strict_json import RepeatedNames, first_repeated, parse, told_twice
from edgehub.config.desired import DesiredConfigError, parse_desired
from edgehub.errors import EdgehubError
from edgehub.hub.desired_files import FILE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Keys of desired properties beside the version; what has others is not taken for them.
_DESIRED_KEYS = {"schemaVersion", "routes", "storeAndForwardConfiguration", "mqttBroker", "integrity"}
_ROUTE_KEYS = {"route", "priority", "timeToLiveSecs"}
_VERSION = re.compile(r"\d+(\.\d+)*")


class RoutesFileError(EdgehubError):
    """A file that holds no routes; the text names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """What a file declares.

    :param routes: name to declaration, as in the JSON; not checked.
    :param schema: `1.0` or `1.1`: which forms a declaration may have.
    :param repeated: names that are declared twice, or whose declaration has a key twice, with what is wrong.
    :param problem: what is wrong with the desired properties around the routes; empty if nothing is.
    :param warnings: what the hub would log about them.
    """

    routes: Mapping[str, Any]
    schema: str = "1.1"
    repeated: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    warnings: tuple[str, ...] = ()


def read_routes_file(path: Path) -> RoutesFile:
    """Reads a file in any of the three forms.

    :raises RoutesFileError: it cannot be read, is too large, is no JSON object, or has a name twice outside
        of the routes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RoutesFileError(f"{path}: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise RoutesFileError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return _routes_of(parse(data, mark_repeated=True))
    except ValueError as error:
        raise RoutesFileError(f"{path}: {error}") from None


def _routes_of(document: Any) -> RoutesFile:
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object with routes, name by name")
    desired = _desired_of(document)
    if desired is None:
        return RoutesFile(document, repeated=_repeated(document))
    section = _find(desired, "routes")
    routes = section if isinstance(section, dict) else {}
    name = first_repeated(document, outside=routes)
    if name is not None:
        raise ValueError(told_twice(name))
    problem, warnings = _judge(desired, section)
    schema = "1.0" if re.fullmatch(r"1\.0(\.\d+)*", str(desired.get("schemaVersion")).strip()) else "1.1"
    return RoutesFile(routes, schema, _repeated(routes), problem, warnings)


def _desired_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """The desired properties of `$edgeHub` in the document; None if it holds routes and nothing else."""
    if _is_desired(document):
        return document
    content = document.get("content")
    for holder in (document, content if isinstance(content, dict) else {}):
        modules = holder.get("modulesContent")
        if isinstance(modules, dict) and not _is_route(modules):
            return _desired_in_manifest(modules)
    return None


def _desired_in_manifest(modules: dict[str, Any]) -> dict[str, Any]:
    hub = modules.get("$edgeHub")
    if isinstance(hub, dict):
        properties = hub.get("properties")
        below = properties.get("desired") if isinstance(properties, dict) else None
        for desired in (hub.get("properties.desired"), below):
            if isinstance(desired, dict):
                return desired
    raise ValueError("a deployment manifest without modulesContent.$edgeHub.properties.desired")


def _is_desired(document: dict[str, Any]) -> bool:
    """Whether this is a desired document, and not routes of which one has the name of such a key."""
    version = document.get("schemaVersion")
    if isinstance(version, str | int | float) and _VERSION.fullmatch(str(version).strip()):
        return True
    section = document.get("routes")
    return isinstance(section, dict) and not _is_route(section) and set(document) <= _DESIRED_KEYS


def _is_route(value: dict[str, Any]) -> bool:
    """Whether this is a route in its object form."""
    return isinstance(value.get("route"), str) and set(value) <= _ROUTE_KEYS


def _find(document: Mapping[str, Any], name: str) -> Any:
    """The value of a key: exact case first, then any case, as the hub reads it."""
    folded = name.casefold()
    return document.get(
        name, next((value for key, value in document.items() if key.casefold() == folded), None)
    )


def _judge(desired: dict[str, Any], section: Any) -> tuple[str, tuple[str, ...]]:
    """What the hub says of the document; the routes count, but each is judged by itself elsewhere."""
    around = {key: value for key, value in desired.items() if key.casefold() != "routes"}
    if isinstance(section, dict):
        around["routes"] = {name: "FROM" for name in section if name}
    elif section is not None:
        around["routes"] = section
    try:
        return "", parse_desired(around).warnings
    except DesiredConfigError as error:
        return str(error), ()


def _repeated(routes: dict[str, Any]) -> dict[str, str]:
    names = routes.repeated if isinstance(routes, RepeatedNames) else ()
    found = dict.fromkeys(names, "Two routes have this name.")
    for name, value in routes.items():
        key = first_repeated(value)
        if key is not None:
            found.setdefault(name, f"The key '{key}' stands in it twice.")
    return found
