"""Merge patches of twins: applying, finding and gathering them. Pure; no input is ever changed.

A patch is a JSON object: null deletes a member, objects merge, everything else (arrays too) replaces.
Rules: heads spec 7.3 and 7.4, iothub spec 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgehub.common.json_types import Json

Object = dict[str, Any]


def merge(target: Object, patch: Object) -> Object:
    """The document after a patch."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def difference(old: Object, new: Object) -> Object:
    """The smallest patch that turns `old` into `new`, nulls for removed members included.

    An object that takes the place of something else needs no null before it.
    """
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(old[key], dict):
            inner = difference(old[key], value)
            if inner:
                patch[key] = inner
        elif _differs(old[key], value):
            patch[key] = value
    return patch


def _differs(old: Json, new: Json) -> bool:
    # 1 == True in Python, but not in JSON.
    return type(old) is not type(new) or old != new


@dataclass(frozen=True, slots=True)
class Gathered:
    """Patches that wait to be sent, as two of them: whatever the document at the other end holds, `clear`
    and then `patch` do to it what all of them in a row would have done.

    One patch alone cannot say "delete this object, and put another in its place": the old members would
    stay. So what was deleted before it came back is in `clear`, which has nulls for leaves only.
    """

    clear: Object = field(default_factory=dict)
    patch: Object = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.clear or self.patch)

    def plus(self, patch: Object) -> Gathered:
        """With one more patch behind the others."""
        return Gathered(*_gather(self.clear, self.patch, patch))

    def then(self, later: Gathered) -> Gathered:
        """With others behind these."""
        return self.plus(later.clear).plus(later.patch)

    def apply(self, target: Object) -> Object:
        """What the document becomes."""
        return merge(merge(target, self.clear), self.patch)

    @property
    def steps(self) -> tuple[Object, ...]:
        """The patches to send, in order: none, one or two."""
        return tuple(step for step in (self.clear, self.patch) if step)


def _gather(clear: Object, gathered: Object, patch: Object) -> tuple[Object, Object]:
    clear, gathered = dict(clear), dict(gathered)
    for key, value in patch.items():
        if not isinstance(value, dict):
            # It replaces whatever was there, so nothing has to be cleared first.
            clear.pop(key, None)
            gathered[key] = value
        elif key not in gathered:
            gathered[key] = value
        elif not isinstance(gathered[key], dict):
            clear[key] = None
            gathered[key] = merge({}, value)
        elif key in clear and clear[key] is None:
            gathered[key] = merge(gathered[key], value)
        else:
            inner, gathered[key] = _gather(clear.pop(key, {}), gathered[key], value)
            if inner:
                clear[key] = inner
    return clear, gathered
