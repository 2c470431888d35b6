"""Limits of reported properties as a client of the edge hub meets them (heads spec 7.5). Pure.

Only the patch is checked, not the document that it makes: that is for the parent hub to judge.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from edgehub.common.json_types import Json

PATCH_BYTES_MAX: Final = 32_768
DEPTH_MAX: Final = 10
"""Levels of objects and arrays below the root."""
NAME_BYTES_MAX: Final = 1024
VALUE_BYTES_MAX: Final = 4096
INTEGER_MIN: Final = -(2**52)
INTEGER_MAX: Final = 2**52 - 1
_VERSION: Final = "$version"


class ReportedError(EdgehubError):
    """Reported properties that a twin cannot hold. The text names the place."""


def parse_reported(payload: bytes) -> dict[str, Any]:
    """Reads a reported patch as a client sent it, and checks it.

    A member `$version` at the root is left out: clients send back what they read.

    :param payload: a JSON object, UTF-8.
    :raises ReportedError: not a JSON object (DEV-7), or outside of the limits.
    """
    try:
        document = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ReportedError(f"reported properties are not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ReportedError("reported properties must be a JSON object")
    document.pop(_VERSION, None)
    check_reported(document)
    return document


def check_reported(patch: dict[str, Any]) -> None:
    """Checks a patch against the limits.

    :raises ReportedError: names the first member that is outside.
    """
    _check_object(patch, "", 0, in_array=False)
    size = len(json.dumps(patch, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > PATCH_BYTES_MAX:
        raise ReportedError(f"reported properties have {size} bytes; {PATCH_BYTES_MAX} are allowed")


def _refuse_constant(name: str) -> None:
    raise ReportedError(f"{name} is not JSON")


def _check_object(node: dict[str, Any], path: str, depth: int, *, in_array: bool) -> None:
    for name, value in node.items():
        _check_name(name, path)
        where = f"{path}.{name}" if path else name
        if value is None and not in_array:
            continue
        _check_value(value, where, depth, in_array=in_array)


def _check_value(value: Json, path: str, depth: int, *, in_array: bool) -> None:
    if isinstance(value, dict | list):
        if depth == DEPTH_MAX:
            raise ReportedError(f"{path[:200]} is nested deeper than {DEPTH_MAX} levels")
        if isinstance(value, dict):
            _check_object(value, path, depth + 1, in_array=in_array)
            return
        for item in value:
            _check_value(item, path, depth + 1, in_array=True)
    elif value is None:
        raise ReportedError(f"{path[:200]} has a null in an array; null can only delete a member")
    elif isinstance(value, int) and not isinstance(value, bool):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise ReportedError(f"{path[:200]} is outside of {INTEGER_MIN} to {INTEGER_MAX}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ReportedError(f"{path[:200]} is a number that no computer holds")
    elif isinstance(value, str):
        size = _bytes(value)
        if size > VALUE_BYTES_MAX:
            raise ReportedError(f"{path[:200]} has {size} bytes; a value may have {VALUE_BYTES_MAX}")


def _check_name(name: str, path: str) -> None:
    where = path[:200] or "the root"
    if _bytes(name) > NAME_BYTES_MAX:
        raise ReportedError(f"a name in {where} has more than {NAME_BYTES_MAX} bytes")
    if any(char in ".$#" or char.isspace() or char < " " or "\x7f" <= char <= "\x9f" for char in name):
        raise ReportedError(
            f"the name {name[:100]!r} in {where} may not hold '.', '$', '#', white space or control "
            "characters"
        )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
