"""Patches of twins: what leads from one JSON object to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeagent.model.canonical import canonical_json


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The patch: objects in objects, anything else as a whole, null for what is gone. Empty: nothing changed.

    Members of `after` that are null count as missing.
    """
    patch: dict[str, Any] = {name: None for name in before if after.get(name) is None}
    for name, value in after.items():
        if value is None:
            continue
        known = before.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            inner = diff(known, value)
            if inner:
                patch[name] = inner
        elif name not in before or not _same(known, value):
            patch[name] = _without_nulls(value)
    return patch


def applied(section: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The object after a patch, as the hub has it then."""
    result = dict(section)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            known = result.get(name)
            result[name] = applied(known if isinstance(known, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def split_removals(patch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a patch takes away, and the rest; one after the other they do the same."""
    removals: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in patch.items():
        if value is None:
            removals[name] = None
        elif isinstance(value, Mapping) and value:
            gone, left = split_removals(value)
            if gone:
                removals[name] = gone
            if left:
                rest[name] = left
        else:
            rest[name] = value
    return removals, rest


def _same(one: Any, other: Any) -> bool:
    """As JSON: true is not 1."""
    if isinstance(one, str | bool | int | float):
        return type(one) is type(other) and one == other
    return canonical_json(one) == canonical_json(other)


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
