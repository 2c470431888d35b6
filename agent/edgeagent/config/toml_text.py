"""Writes TOML: what :mod:`tomllib` reads back as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def toml_text(values: Mapping[str, Any]) -> str:
    """A document of texts, numbers, truth values, lists and tables; None is left out.

    :raises TypeError: something else.
    """
    return "\n".join(_table("", values)).strip() + "\n"


def _table(place: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Single values first, as TOML wants them before the tables below."""
    for name, value in values.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(name)} = {_value(value)}"
    for name, value in values.items():
        if isinstance(value, Mapping):
            below = f"{place}.{_key(name)}" if place else _key(name)
            yield ""
            yield f"[{below}]"
            yield from _table(below, value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(
            f"{_key(name)} = {_value(item)}" for name, item in value.items() if item is not None
        )
        return f"{{ {inner} }}" if inner else "{}"
    raise TypeError(f"{type(value).__name__} is not TOML")


def _string(text: str) -> str:
    """JSON's escapes are TOML's, but for the character 127 and halves of pairs, which TOML has not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
