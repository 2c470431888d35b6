"""The reported properties of `$edgeAgent` as JSON (agent spec 1.9). Pure.

Members that would be null are left out: in a twin null means that there is no such member.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from edgeagent.manifest.create_options import in_pieces
from edgeagent.model.canonical import canonical_json
from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
from edgeagent.model.module import EDGE_AGENT, STARTUP_ORDER_MAX, SYSTEM_MODULES, Module
from edgeagent.report.outcome import CODE_FAILED, Outcome, cut
from edgeagent.report.redact import HIDDEN, redacted, redacted_options

if TYPE_CHECKING:
    from edgeagent.report.snapshot import Snapshot

SCHEMA_VERSION: Final = "1.0"
NEVER: Final = "0001-01-01T00:00:00"
"""A time that is not known (row R17)."""
VALUE_BYTES_MAX: Final = 4000
"""Of a string; the hub allows 4096."""
_UNKNOWN: Final = "unknown"


def reported_state(snapshot: Snapshot) -> dict[str, Any]:
    """All reported properties."""
    current = snapshot.current or {}
    user_modules = sorted(name for name in current if name not in SYSTEM_MODULES)
    return {
        "schemaVersion": SCHEMA_VERSION,
        "version": {
            "version": snapshot.build.version,
            "build": snapshot.build.build,
            "commit": snapshot.build.commit,
        },
        "lastDesiredVersion": snapshot.version,
        "lastDesiredStatus": status_json(snapshot.outcome),
        "runtime": _runtime(snapshot),
        "systemModules": {name: _system_module(name, snapshot) for name in SYSTEM_MODULES},
        "modules": {name: _module(name, current[name], snapshot) for name in user_modules},
    }


def failed_state(snapshot: Snapshot, fault: Exception) -> dict[str, Any]:
    """What is left to say when the rest cannot be built (row R11)."""
    text = f"The reported state cannot be built: {fault or type(fault).__name__}"
    return {
        "lastDesiredVersion": snapshot.version,
        "lastDesiredStatus": status_json(Outcome(CODE_FAILED, cut(text))),
    }


def status_json(outcome: Outcome) -> dict[str, Any]:
    """`lastDesiredStatus`."""
    return {"code": outcome.code, "description": cut(outcome.description)}


def time_json(at_ms: int | None) -> str:
    """A time as .NET writes it: no more digits of a second than there are."""
    if at_ms is None:
        return NEVER
    seconds, milliseconds = divmod(at_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{milliseconds:03d}".rstrip("0") if milliseconds else ""
    return f"{text}{fraction}Z"


def chunked(text: str) -> dict[str, str]:
    """`createOptions` in as many members as it needs; too long a text is left out."""
    try:
        return in_pieces(text)
    except ValueError:
        return {"createOptions": "{}"}


def _runtime(snapshot: Snapshot) -> dict[str, Any]:
    platform = snapshot.platform
    where = {"os": platform.os, "architecture": platform.architecture, "version": platform.version}
    if snapshot.deployment is None:
        return {"type": "Unknown", "platform": where}
    runtime = snapshot.deployment.runtime
    credentials = {
        name: {"address": clip(known.address), "username": clip(known.username), "password": HIDDEN}
        for name, known in runtime.registry_credentials.items()
    }
    settings = {
        "minDockerVersion": clip(runtime.min_docker_version),
        "loggingOptions": clip(runtime.logging_options),
        "registryCredentials": credentials,
    }
    return {"type": "docker", "settings": settings, "platform": where}


def _system_module(name: str, snapshot: Snapshot) -> dict[str, Any]:
    found = (snapshot.current or {}).get(name)
    if found is None:
        state = {"type": "Unknown", "status": _UNKNOWN, "runtimeStatus": RuntimeStatus.UNKNOWN.value}
        return state | _detail(name, snapshot)
    return _module(name, found, snapshot)


def _module(name: str, found: CurrentModule, snapshot: Snapshot) -> dict[str, Any]:
    desired = snapshot.deployment.modules.get(name) if snapshot.deployment is not None else None
    restarts = snapshot.restarts.get(name)
    state = {
        "type": "docker",
        "exitCode": found.exit_code,
        "lastStartTimeUtc": time_json(found.started_at_ms),
        "lastExitTimeUtc": time_json(found.finished_at_ms),
        "runtimeStatus": RuntimeStatus(snapshot.statuses.get(name, found.status)).value,
        "settings": _settings(found, desired),
        **_intent(name, desired),
        **_detail(name, snapshot),
    }
    if name != EDGE_AGENT:
        state |= _restarts(restarts)
    return state


def _detail(name: str, snapshot: Snapshot) -> dict[str, str]:
    detail = snapshot.details.get(name)
    return {"statusDescription": cut(detail)} if detail else {}


def _restarts(restarts: Restarts | None) -> dict[str, Any]:
    if restarts is None:
        return {"restartCount": 0, "lastRestartTimeUtc": NEVER}
    return {"restartCount": restarts.count, "lastRestartTimeUtc": time_json(restarts.last_at_ms)}


def _settings(found: CurrentModule, desired: Module | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "image": found.image or (desired.image if desired is not None else _UNKNOWN),
        "imageHash": found.image_id,
    }
    if desired is None:
        return {**settings, "createOptions": "{}"}
    if desired.digest is not None:
        settings["digest"] = clip(desired.digest)
    options = canonical_json(redacted_options(desired.create_options)).decode("utf-8", "replace")
    return settings | chunked(options)


def _intent(name: str, desired: Module | None) -> dict[str, Any]:
    """What was asked for, which differs between the agent, the hub and other modules (rows R14 to R16)."""
    if desired is None:
        unknown = {"imagePullPolicy": "on-create", "startupOrder": 0, "env": {}}
        if name == EDGE_AGENT:
            return unknown
        return {**unknown, "status": _UNKNOWN, "restartPolicy": _UNKNOWN}
    env = {key: {"value": clip(redacted(key, value))} for key, value in desired.env.items()}
    intent: dict[str, Any] = {"imagePullPolicy": desired.image_pull_policy.value, "env": env}
    if desired.startup_order != STARTUP_ORDER_MAX or name == EDGE_AGENT:
        intent["startupOrder"] = desired.startup_order
    if name != EDGE_AGENT:
        intent |= {"status": desired.status.value, "restartPolicy": desired.restart_policy.value}
    if name not in SYSTEM_MODULES:
        intent["version"] = clip(desired.version)
    return intent


def clip(text: str) -> str:
    """A string that the hub takes."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= VALUE_BYTES_MAX:
        return text
    return raw[: VALUE_BYTES_MAX - 3].decode("utf-8", "ignore") + "..."


def modules_of(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Section and name of all modules in reported properties, whoever wrote them."""
    found = []
    for section in ("systemModules", "modules"):
        modules = state.get(section)
        if isinstance(modules, Mapping):
            found += [(section, name) for name, module in modules.items() if isinstance(module, Mapping)]
    return found
