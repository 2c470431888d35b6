"""From a request to what is asked for, without I/O (agent spec 7.1, 7.4).

What makes, changes or removes modules and identities is for the agent alone, which does it without this API:
everybody gets 403.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edgeagent.management.ports import BundleWanted
from edgeagent.methods.times import parse_moment_s
from edgeagent.runtime.logs import LogOptions
from edgeagent.workload import http
from edgeagent.workload.errors import RequestRefused

if TYPE_CHECKING:
    from edgeagent.workload.http import Request

TAIL_MAX = 2**31 - 1
_FORBIDDEN = "forbidden: modules and identities are made by the agent alone, from its deployment"
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class ListModules:
    """GET /modules."""


@dataclass(frozen=True, slots=True)
class GetModule:
    """GET /modules/{name}."""

    name: str


@dataclass(frozen=True, slots=True)
class ReadLogs:
    """GET /modules/{name}/logs."""

    name: str
    options: LogOptions


@dataclass(frozen=True, slots=True)
class Act:
    """POST /modules/{name}/start, stop or restart."""

    name: str
    verb: str


@dataclass(frozen=True, slots=True)
class ListIdentities:
    """GET /identities."""


@dataclass(frozen=True, slots=True)
class TellSystem:
    """GET /systeminfo."""


@dataclass(frozen=True, slots=True)
class TellResources:
    """GET /systeminfo/resources."""


Wanted: TypeAlias = (
    ListModules | GetModule | ReadLogs | Act | ListIdentities | TellSystem | TellResources | BundleWanted
)


def read_request(request: Request, now_s: float) -> Wanted:
    """What a request asks for.

    :param now_s: UTC since 1970, for times such as `1 day`.
    :raises RequestRefused: it cannot be served.
    """
    segments, query = http.split_target(request.target)
    version = http.check_api_version(query)
    match segments:
        case ["modules"] | ["modules", ""]:
            _check_verb(request, "GET", forbidden=("POST",))
            return ListModules()
        case ["modules", name]:
            _check_verb(request, "GET", forbidden=("PUT", "DELETE"))
            return GetModule(name)
        case ["modules", name, "logs"]:
            http.check_verb(request, "GET")
            return ReadLogs(name, _log_options(query, now_s))
        case ["modules", name, ("start" | "stop" | "restart") as verb]:
            http.check_verb(request, "POST")
            return Act(name, verb)
        case ["modules", _, "prepareupdate"]:
            _check_since(version, "2019-01-30")
            _check_verb(request, forbidden=("POST",))
        case ["identities"] | ["identities", ""]:
            _check_verb(request, "GET", forbidden=("POST",))
            return ListIdentities()
        case ["identities", _]:
            _check_verb(request, forbidden=("PUT", "DELETE"))
        case ["device", "reprovision"]:
            _check_since(version, "2019-10-22")
            _check_verb(request, forbidden=("POST",))
        case ["systeminfo", *rest]:
            return _system_request(request, version, rest, query, now_s)
    raise http.not_found()


def _system_request(
    request: Request, version: str, rest: list[str], query: dict[str, str], now_s: float
) -> Wanted:
    match rest:
        case []:
            http.check_verb(request, "GET")
            return TellSystem()
        case ["resources"]:
            _check_since(version, "2019-11-05")
            http.check_verb(request, "GET")
            return TellResources()
        case ["supportbundle"]:
            _check_since(version, "2020-07-07")
            http.check_verb(request, "GET")
            return _bundle(query, now_s)
    raise http.not_found()


def _check_verb(request: Request, *verbs: str, forbidden: tuple[str, ...] = ()) -> None:
    """:raises RequestRefused: 403 for what is the agent's alone (row W20), 400 for any other verb."""
    if request.verb in forbidden:
        raise RequestRefused(403, _FORBIDDEN)
    http.check_verb(request, *verbs)


def _check_since(version: str, oldest: str) -> None:
    """:raises RequestRefused: 404, the version of the API has no such endpoint yet (versions are dates)."""
    if version < oldest:
        raise http.not_found()


def _log_options(query: dict[str, str], now_s: float) -> LogOptions:
    """Row W22."""
    return LogOptions(
        tail=_tail(query),
        since_ms=_moment_ms(query, "since", now_s),
        until_ms=_moment_ms(query, "until", now_s),
        follow=_truth(query, "follow"),
        timestamps=_truth(query, "timestamps"),
    )


def _bundle(query: dict[str, str], now_s: float) -> BundleWanted:
    return BundleWanted(
        since_ms=_moment_ms(query, "since", now_s),
        until_ms=_moment_ms(query, "until", now_s),
        runtime_only=_truth(query, "edge_runtime_only"),
        hub_hostname=query.get("iothub_hostname", ""),
    )


def _tail(query: dict[str, str]) -> int | None:
    text = query.get("tail", "all")
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > TAIL_MAX:
        raise RequestRefused(400, "invalid parameter: tail")
    return int(text)


def _moment_ms(query: dict[str, str], name: str, now_s: float) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_moment_s(text, now_s) * 1000
    except (ValueError, OverflowError):
        raise RequestRefused(400, f"invalid parameter: {name}") from None


def _truth(query: dict[str, str], name: str) -> bool:
    value = _TRUTH.get(query.get(name, "false").lower())
    if value is None:
        raise RequestRefused(400, f"invalid parameter: {name}")
    return value
