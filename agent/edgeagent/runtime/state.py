"""What the engine says about a container, as the planner sees it (agent spec 3.7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.runtime import labels
from edgeagent.runtime.errors import shortened

_STOPPED = ("created", "paused", "restarting")
_ENDED = ("removing", "exited")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NO_DATE = "0001-01-01T00:00:00"


def status_of(state: str, exit_code: int, health: str = "") -> RuntimeStatus:
    """Row C16, and `unhealthy` where the image or the module has a health check that fails.

    :param state: `State.Status` of the engine.
    :param health: `State.Health.Status`.
    """
    if state in _STOPPED:
        return RuntimeStatus.STOPPED
    if state in _ENDED:
        return RuntimeStatus.STOPPED if exit_code == 0 else RuntimeStatus.FAILED
    if state == "dead":
        return RuntimeStatus.DEAD
    if state == "running":
        return RuntimeStatus.UNHEALTHY if health == "unhealthy" else RuntimeStatus.RUNNING
    return RuntimeStatus.UNKNOWN


def current_module(details: Mapping[str, Any]) -> CurrentModule:
    """A container of ours.

    :param details: answer of the engine to an inspection; members that are missing count as empty.
    """
    state = _object(details, "State")
    config = _object(details, "Config")
    ours = _object(config, "Labels")
    finished_at_ms = time_ms(state.get("FinishedAt"))
    exit_code = _whole(state.get("ExitCode"))
    health = _object(state, "Health")
    return CurrentModule(
        name=_text(details, "Name").removeprefix("/"),
        image=_text(ours, labels.ORIGINAL_IMAGE) or _text(config, "Image"),
        status=status_of(_text(state, "Status"), exit_code, _text(health, "Status")),
        spec_hash=_text(ours, labels.SPEC_HASH) or None,
        image_id=_text(details, "Image"),
        container_id=_text(details, "Id"),
        exit_code=exit_code if finished_at_ms is not None else 0,
        status_text=_status_text(state, health),
        started_at_ms=time_ms(state.get("StartedAt")),
        finished_at_ms=finished_at_ms,
        generation_id=_generation_id(config.get("Env")),
    )


def _generation_id(environment: Any) -> str:
    for entry in environment if isinstance(environment, list) else ():
        name, _, value = str(entry).partition("=")
        if name == labels.GENERATION_VARIABLE:
            return value
    return ""


def is_ours(details: Mapping[str, Any]) -> bool:
    """Whether the container has our owner label; others are never touched."""
    return _text(_object(_object(details, "Config"), "Labels"), labels.OWNER) == labels.OWNER_VALUE


def time_ms(text: Any) -> int | None:
    """Milliseconds since 1970; None for the engine's way of saying never, and for what is no time."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] == _NO_DATE:
        return None
    try:
        whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return int(whole.timestamp()) * 1000 + int(f"{found[2] or 0:0<3}"[:3])


def _status_text(state: Mapping[str, Any], health: Mapping[str, Any]) -> str:
    """What else is known of the state, for people; empty most of the time."""
    running = _text(state, "Status") == "running"
    if not running and state.get("OOMKilled") is True:
        return "ended by the system: out of memory"
    if not running and _text(state, "Error"):
        return shortened(_text(state, "Error"))
    if running and _text(health, "Status") == "unhealthy":
        return f"the health check failed {_whole(health.get('FailingStreak'))} times"
    return ""


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = value.get(name)
    return member if isinstance(member, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    member = value.get(name)
    return member if isinstance(member, str) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
