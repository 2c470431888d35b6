"""Desired properties of `$edgeHub`: schema, validation and merging of patches (settings spec 3.1, 3.2).

A document is validated completely before any of it is used. Whether the routes compile is not decided
here: the caller asks the core and reports both kinds of fault alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.config.broker_section import broker_section_fault
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from edgehub.common.json_types import Json

PRIORITY_DEFAULT = 2_000_000_000
PRIORITY_MAX = 9
TTL_SECS_MAX = 2**32 - 1
ROUTES_MAX = 1000
"""Routes of one configuration. A twin holds at most 32 KiB of desired properties, well below this."""

OVERFLOW_POLICIES = ("rejectNew", "dropOldest", "dropLowestPriority")
"""What may happen to messages for which the store has no room, the default first."""

NEWEST_KNOWN = (1, 3)

_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}", re.ASCII)
_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)


class DesiredConfigError(EdgehubError):
    """Desired properties that cannot be used. The text goes into `lastDesiredStatus` with code 400."""

    @property
    def description(self) -> str:
        """The text as the twin reports it."""
        return f"Error while parsing desired properties - {self}"


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route as declared.

    :param priority: 0 (first) to 9, or None for the default, which comes last.
    :param ttl_secs: seconds, 0 inherits the global time to live.
    """

    name: str
    text: str
    priority: int | None = None
    ttl_secs: int = 0


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What stored messages may take.

    :param bytes_max: None for no limit but that of the disk; 0 and 1 mean that nothing is stored.
    :param overflow_policy: one of :data:`OVERFLOW_POLICIES`; on a full disk, too.
    """

    bytes_max: int | None = None
    overflow_policy: str = OVERFLOW_POLICIES[0]


NO_LIMITS = StoreLimits()


@dataclass(frozen=True, slots=True)
class RoutesConfig:
    """What the desired properties ask for.

    :param ttl_secs: global time to live; negative for ever, 0 expires at once.
    :param store_bytes_max: `storeLimits.maxSizeBytes`, None when there are no limits.
    :param overflow_policy: `storeLimits.overflowPolicy`, None when it is not given.
    :param warnings: worth a log line, not an error.
    """

    routes: tuple[RouteSpec, ...]
    ttl_secs: int
    store_bytes_max: int | None = None
    overflow_policy: str | None = None
    warnings: tuple[str, ...] = ()

    def store_limits(self, default: StoreLimits) -> StoreLimits:
        """The limits, with what is not said taken from `default`."""
        bytes_max = default.bytes_max if self.store_bytes_max is None else max(self.store_bytes_max, 0)
        return StoreLimits(bytes_max, self.overflow_policy or default.overflow_policy)


def parse_desired(document: Json) -> RoutesConfig:
    """Validates a whole desired document.

    :raises DesiredConfigError: the first thing that is wrong, in the reference's words.
    """
    if not isinstance(document, Mapping):
        raise DesiredConfigError(f"Expected a JSON object, found {_type_name(document)}")
    _check_unicode(document)
    minor, warnings = _check_version(document)
    routes = _parse_routes(_find(document, "routes"), objects_allowed=minor >= 1)
    ttl_secs, limits = _parse_store_section(_find(document, "storeAndForwardConfiguration"))
    if minor >= 2:
        fault = broker_section_fault(_find(document, "mqttBroker"))
        if fault is not None:
            raise DesiredConfigError(fault)
    return RoutesConfig(routes, ttl_secs, *limits, warnings)


def merge_patch(base: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """Applies a desired-properties patch: null deletes, objects merge, everything else replaces."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def document_version(document: Mapping[str, Json]) -> int | None:
    """`$version` of a desired document or patch, if it has a usable one."""
    version = document.get("$version")
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _check_unicode(document: Mapping[str, Json]) -> None:
    """JSON can escape half of a character (`\\ud800`), which neither the core nor a file can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        text = json.dumps(error.object[error.start : error.end])
        raise DesiredConfigError(f"Text with half of a character: {text}") from None
    except RecursionError:
        raise DesiredConfigError("Objects are nested too deeply") from None


def _check_version(document: Mapping[str, Json]) -> tuple[int, tuple[str, ...]]:
    """Minor version of the schema, with a warning above the newest known one.

    Later 1.x schemas only add keys, so they are read with what is known of them.
    """
    if "schemaVersion" not in document:
        raise DesiredConfigError("EdgeHub config missing SchemaVersion")
    text = document["schemaVersion"]
    if not isinstance(text, str) or _VERSION.fullmatch(text.strip()) is None:
        shown = text if isinstance(text, str) else "null" if text is None else repr(text)
        raise DesiredConfigError(
            f"Error parsing schema version string: {shown}, Exception: expected major.minor, for example 1.1"
        )
    major, minor = (int(part) for part in text.strip().split(".")[:2])
    if major != NEWEST_KNOWN[0]:
        raise DesiredConfigError(f"EdgeHub config contains unsupported SchemaVersion: {text}")
    if minor > NEWEST_KNOWN[1]:
        newest = ".".join(map(str, NEWEST_KNOWN))
        return minor, (f"Desired properties have schema version {text}; read as {newest}",)
    return minor, ()


def _parse_routes(section: Json, *, objects_allowed: bool) -> tuple[RouteSpec, ...]:
    if section is None:
        if objects_allowed:
            raise DesiredConfigError("Required property 'routes' is missing")
        return ()
    if not isinstance(section, Mapping):
        raise DesiredConfigError(f"'routes' must be an object, found {_type_name(section)}")
    if len(section) > ROUTES_MAX:
        raise DesiredConfigError(f"'routes' has {len(section)} entries, at most {ROUTES_MAX} are supported")
    parsed = []
    for name, value in section.items():
        if not name.strip():
            raise DesiredConfigError(f"Empty route name in {_shown(section)}")
        route = _parse_route(name, value) if objects_allowed else _parse_plain_route(name, value)
        if route is not None:
            parsed.append(route)
    return tuple(parsed)


def _parse_plain_route(name: str, value: Json) -> RouteSpec | None:
    """A route of schema 1.0: text only; blank text skips the route."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise DesiredConfigError(
            f"Malformed route specification: {_shown(value)}; schema 1.0 takes text only"
        )
    return RouteSpec(name, value)


def _parse_route(name: str, value: Json) -> RouteSpec:
    if isinstance(value, str):
        return RouteSpec(name, _route_text(name, value))
    if not isinstance(value, Mapping):
        raise DesiredConfigError(f"Malformed route specification: {_shown(value)}")
    text = _find(value, "route")
    if not isinstance(text, str):
        raise DesiredConfigError(f"Malformed route specification: {_shown(value)}")
    where = f"routes.{name}"
    ttl_secs = _integer(_find(value, "timeToLiveSecs"), f"{where}.timeToLiveSecs", 0, TTL_SECS_MAX) or 0
    return RouteSpec(
        name, _route_text(name, text), _priority(text, where, _find(value, "priority")), ttl_secs
    )


def _route_text(name: str, text: str) -> str:
    if not text.strip():
        raise DesiredConfigError(f"Error parsing route {path_name(name)} - the route is empty")
    return text


def _priority(route: str, where: str, value: Json) -> int | None:
    if value is None:
        return None
    number = _integer(value, f"{where}.priority", *_INT64)
    if number == PRIORITY_DEFAULT:
        return None
    if number is None or not 0 <= number <= PRIORITY_MAX:
        raise DesiredConfigError(
            f"Invalid priority for route: {route}, priority can only be between 0-{PRIORITY_MAX}"
            f" (Parameter 'priority', actual value {value})"
        )
    return number


def _parse_store_section(section: Json) -> tuple[int, tuple[int | None, str | None]]:
    """Time to live, then the limit and its policy."""
    if section is None:
        raise DesiredConfigError("Required property 'storeAndForwardConfiguration' is missing or null")
    if not isinstance(section, Mapping):
        raise DesiredConfigError(
            f"'storeAndForwardConfiguration' must be an object, found {_type_name(section)}"
        )
    # A missing time to live means 0 here, as in the reference: everything expires at once (spec 1.5).
    ttl_secs = _integer(_find(section, "timeToLiveSecs"), "timeToLiveSecs", *_INT32) or 0
    return ttl_secs, _parse_limits(_find(section, "storeLimits"))


def _parse_limits(limits: Json) -> tuple[int | None, str | None]:
    if limits is None:
        return None, None
    if not isinstance(limits, Mapping):
        raise DesiredConfigError(f"'storeLimits' must be an object, found {_type_name(limits)}")
    bytes_max = _integer(_find(limits, "maxSizeBytes"), "storeLimits.maxSizeBytes", *_INT64)
    policy = _parse_policy(_find(limits, "overflowPolicy"))
    if bytes_max is None and policy is not None:
        raise DesiredConfigError("'storeLimits.overflowPolicy' must be accompanied by 'maxSizeBytes'")
    # Without a size nothing can be stored, as in the reference.
    return bytes_max or 0, policy


def _parse_policy(value: Json) -> str | None:
    if value is None:
        return None
    folded = value.casefold() if isinstance(value, str) else None
    for policy in OVERFLOW_POLICIES:
        if policy.casefold() == folded:
            return policy
    expected = ", ".join(OVERFLOW_POLICIES)
    raise DesiredConfigError(f"'storeLimits.overflowPolicy' must be one of {expected}, found {_shown(value)}")


def _integer(value: Json, where: str, least: int, most: int) -> int | None:
    """A JSON integer within bounds; text with an integer counts, as for the reference's JSON binder."""
    number: int | None = None
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,19}\s*", value, re.ASCII):
        number = int(value)
    if number is None or not least <= number <= most:
        raise DesiredConfigError(
            f"'{where}' must be a whole number from {least} to {most}, found {_shown(value)}"
        )
    return number


def _find(document: Mapping[str, Json], name: str) -> Json:
    """The value of a key: exact case first, then any case, as the reference's JSON binder does."""
    if name in document:
        return document[name]
    folded = name.casefold()
    return next((value for key, value in document.items() if key.casefold() == folded), None)


def path_name(name: str) -> str:
    """A route name as messages show it: bare, or `['a b']` when it is not a plain word."""
    return name if re.fullmatch(r"\w+", name) else f"['{name}']"


def _type_name(value: Json) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Json, chars_max: int = 200) -> str:
    """JSON text of a value for a message, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
