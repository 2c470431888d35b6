"""JSON as files for this command hold it: UTF-8, no NaN, and a name that stands twice is remembered."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn


class JsonObject(dict[str, Any]):
    """A JSON object.

    :ivar duplicates: names that stood in it more than once; the last value counts.
    """

    __slots__ = ("duplicates",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicates: tuple[str, ...] = () if len(self) == len(pairs) else _repeated(pairs)


def _repeated(pairs: list[tuple[str, Any]]) -> tuple[str, ...]:
    counts = Counter(name for name, _ in pairs)
    return tuple(name for name, count in counts.items() if count > 1)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def parse(data: bytes) -> Any:
    """Reads one JSON value; objects are :class:`JsonObject`.

    :raises ValueError: it is not UTF-8 or not JSON; the text says where.
    """
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=JsonObject,
            parse_constant=_refuse,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def first_duplicate(value: Any, *, outside: JsonObject | None = None) -> str | None:
    """A name that stands twice in an object anywhere in `value`, but not in `outside`; None if none does."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, JsonObject) and current is not outside:
            if current.duplicates:
                return current.duplicates[0]
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
    return None
