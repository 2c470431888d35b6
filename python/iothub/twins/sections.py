"""Sections of twins: their metadata and limits. Pure; section 3.2 and 3.3.

A section (desired, reported or tags) is a plain JSON object. Its metadata is a parallel tree in which every
object and leaf has `$lastUpdated` and, for desired, `$lastUpdatedVersion`; arrays count as leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from iothub.errors import argument_invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.common.json_types import Json

DEPTH_MAX: Final = 10
"""Levels of objects and arrays below the section itself, as a gateway counts them, too."""
KEY_BYTES_MAX: Final = 1024
STRING_BYTES_MAX: Final = 4096
INTEGER_MIN: Final = -(2**52)
INTEGER_MAX: Final = 2**52 - 1
TAGS_BYTES_MAX: Final = 8 * 1024
PROPERTIES_BYTES_MAX: Final = 32 * 1024
NEVER_UPDATED: Final = "0001-01-01T00:00:00Z"
_IGNORED_MEMBERS: Final = ("$version", "$metadata")
_NUMBER_BYTES: Final = 8
_BOOL_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Stamp:
    """What metadata says about a change.

    :ivar updated: ISO time with `Z`.
    :ivar version: collection version for desired properties, None for reported and tags.
    """

    updated: str
    version: int | None = None

    def entry(self) -> dict[str, Any]:
        """Metadata of one node."""
        entry: dict[str, Any] = {"$lastUpdated": self.updated}
        if self.version is not None:
            entry["$lastUpdatedVersion"] = self.version
        return entry


def without_reserved(patch: dict[str, Any]) -> dict[str, Any]:
    """A section of a request without `$version` and `$metadata`, which clients send back."""
    return {key: value for key, value in patch.items() if key not in _IGNORED_MEMBERS}


def merge_metadata(metadata: dict[str, Any], patch: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """Metadata after a patch: every touched node and all above it are stamped."""
    updated = {**metadata, **stamp.entry()}
    for key, value in patch.items():
        if value is None:
            updated.pop(key, None)
        elif isinstance(value, dict):
            updated[key] = merge_metadata(updated.get(key, {}), value, stamp)
        else:
            updated[key] = stamp.entry()
    return updated


def drop_stale_metadata(metadata: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """Metadata without members the section no longer has (an object that replaced a scalar, or was
    replaced)."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        if key.startswith("$"):
            kept[key] = value
        elif key in section:
            child = section[key]
            leaf = {name: item for name, item in value.items() if name.startswith("$")}
            kept[key] = drop_stale_metadata(value, child) if isinstance(child, dict) else leaf
    return kept


def check_section(section: dict[str, Any], what: str, bytes_max: int = PROPERTIES_BYTES_MAX) -> None:
    """Checks a whole section against the limits.

    :raises HubError: 400004, naming the member.
    """
    size = sum(_sizes(section, what, 0))
    if size > bytes_max:
        raise argument_invalid(f"{what} has {size} bytes; {bytes_max} are allowed.")


def check_patch(patch: dict[str, Any], what: str) -> None:
    """Checks a patch before it is merged: nulls delete, all else as `check_section`.

    :raises HubError: 400004.
    """
    for _ in _sizes(patch, what, 0, nulls=True):
        pass


def _sizes(node: dict[str, Any], path: str, depth: int, *, nulls: bool = False) -> Iterator[int]:
    if depth > DEPTH_MAX:
        raise argument_invalid(f"{path} is nested deeper than {DEPTH_MAX} levels.")
    for key, value in node.items():
        _check_key(key, path)
        yield _text_bytes(key)
        where = f"{path}.{key}"
        if isinstance(value, dict):
            yield from _sizes(value, where, depth + 1, nulls=nulls)
        elif isinstance(value, list):
            yield from _array_sizes(value, where, depth + 1, nulls=nulls)
        elif value is not None or not nulls:
            yield _scalar_bytes(value, where)


def _array_sizes(items: list[Any], path: str, depth: int, *, nulls: bool) -> Iterator[int]:
    if depth > DEPTH_MAX:
        raise argument_invalid(f"{path} is nested deeper than {DEPTH_MAX} levels.")
    for item in items:
        if isinstance(item, dict):
            yield from _sizes(item, path, depth + 1, nulls=True)
        elif isinstance(item, list):
            yield from _array_sizes(item, path, depth + 1, nulls=nulls)
        elif item is not None:
            yield _scalar_bytes(item, path)


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"


def _check_key(key: str, path: str) -> None:
    if not key or len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        raise argument_invalid(f"a name in {path} must have 1 to {KEY_BYTES_MAX} bytes.")
    if any(char in ".$ " or _is_control(char) for char in key):
        raise argument_invalid(
            f"the name {key!r} in {path} may not hold '.', '$', space or control characters."
        )


def _text_bytes(text: str) -> int:
    return len("".join(char for char in text if not _is_control(char)).encode("utf-8", "surrogatepass"))


def _scalar_bytes(value: Json, path: str) -> int:
    if value is None:
        raise argument_invalid(f"{path} is null; null can only delete a member.")
    if isinstance(value, bool):
        return _BOOL_BYTES
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise argument_invalid(f"{path} is outside {INTEGER_MIN} to {INTEGER_MAX}.")
        return _NUMBER_BYTES
    if isinstance(value, float):
        return _NUMBER_BYTES
    if isinstance(value, str):
        size = _text_bytes(value)
        if size > STRING_BYTES_MAX:
            raise argument_invalid(f"{path} has {size} bytes; text may have {STRING_BYTES_MAX}.")
        return size
    raise argument_invalid(f"{path} has the type {type(value).__name__}, which a twin cannot hold.")
