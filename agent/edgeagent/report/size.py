"""Keeps the reported properties within what a twin can hold (row R20). Pure.

A hub takes 32 KB. What is left out first is what the deployment says anyway, of the largest modules first;
what is told last is that a module runs. Whatever is left out is said in a `statusDescription`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeagent.model.canonical import canonical_json
from edgeagent.model.current import RuntimeStatus
from edgeagent.model.module import EDGE_AGENT
from edgeagent.report.state import modules_of

STATE_BYTES_MAX: Final = 30 * 1024
"""As JSON, in which all is a little longer than the hub counts."""
PATCH_BYTES_MAX: Final = 31 * 1024
NOTE: Final = "env and createOptions are not reported: the twin would be too large"
NOTE_SHORT: Final = "only the state is reported: the twin would be too large"
_KEPT: Final = ("type", "status", "runtimeStatus", "exitCode", "restartCount")


def size_of(state: Mapping[str, Any]) -> int:
    """Bytes of JSON."""
    return len(canonical_json(state))


def fit(state: dict[str, Any], bytes_max: int = STATE_BYTES_MAX) -> dict[str, Any]:
    """The state itself when it fits, else as much of it as does."""
    excess = size_of(state) - bytes_max
    if excess <= 0:
        return state
    trimmed = {**state, **{name: dict(state[name]) for name in ("systemModules", "modules")}}
    for shorten in (_without_options, _state_alone):
        excess = _shorten(trimmed, excess, shorten)
        if excess <= 0:
            return trimmed
    return _fewer_modules(_without_credentials(trimmed), bytes_max)


def _shorten(
    state: dict[str, Any], excess: int, shorten: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> int:
    """Shortens one module after the other, the largest first, until it is enough; the excess that is left."""
    sizes = {place: size_of(state[place[0]][place[1]]) for place in modules_of(state)}
    for (section, name), size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if excess <= 0:
            break
        shorter = shorten(state[section][name])
        saved = size - size_of(shorter)
        if saved > 0:
            state[section][name] = shorter
            excess -= saved
    return excess


def _without_options(module: Mapping[str, Any]) -> dict[str, Any]:
    settings = module.get("settings")
    if not isinstance(settings, Mapping):
        return dict(module)
    kept = {name: value for name, value in settings.items() if not name.startswith("createOptions")}
    return {**module, "env": {}, "settings": {**kept, "createOptions": "{}"}, "statusDescription": NOTE}


def _state_alone(module: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: module[name] for name in _KEPT if name in module}, "statusDescription": NOTE_SHORT}


def _without_credentials(state: dict[str, Any]) -> dict[str, Any]:
    """Who pulls from where is no state."""
    settings = state["runtime"].get("settings")
    if settings is None:
        return state
    shorter = {**settings, "registryCredentials": {}}
    return {**state, "runtime": {**state["runtime"], "settings": shorter}}


def _fewer_modules(state: dict[str, Any], bytes_max: int) -> dict[str, Any]:
    """Running modules go first, for nobody need look after them."""
    modules: dict[str, Any] = state["modules"]
    running = RuntimeStatus.RUNNING.value
    order = sorted(modules, key=lambda name: (modules[name].get("runtimeStatus") != running, name))
    gone = 0
    while order and size_of(state) > bytes_max:
        # A few at a time: each look at the size writes all of it.
        for name in order[: max(1, len(order) // 16)]:
            del modules[name]
            gone += 1
        order = [name for name in order if name in modules]
        text = f"{gone} modules are not reported: the twin would be too large"
        state["systemModules"][EDGE_AGENT] = {
            **state["systemModules"].get(EDGE_AGENT, {}),
            "statusDescription": text,
        }
    return state
