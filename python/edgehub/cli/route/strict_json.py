"""JSON as files for this command hold it: UTF-8, no NaN, and a name that stands twice is remembered."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn


class RepeatedNames(dict[str, Any]):
    """A JSON object in which names stand more than once; the last value counts.

    :ivar repeated: these names.
    """

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.repeated = tuple(name for name, count in counts.items() if count > 1)


def _mark_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedNames(pairs)


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(told_twice(RepeatedNames(pairs).repeated[0]))
    return found


def told_twice(name: str) -> str:
    """What to say of a name that stands twice."""
    return f"the name '{name}' stands twice in one object"


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


_marking = json.JSONDecoder(object_pairs_hook=_mark_repeated, parse_constant=_refuse)
_refusing = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_constant=_refuse)


def parse(data: bytes, *, mark_repeated: bool = False) -> Any:
    """Reads one JSON value.

    :param mark_repeated: objects with a name twice become :class:`RepeatedNames`, instead of an error.
    :raises ValueError: it is not UTF-8 or not JSON, or has a name twice; the text says where.
    """
    decoder = _marking if mark_repeated else _refusing
    try:
        value = decoder.decode(data.decode("utf-8-sig"))
        if b"\\ud" in data or b"\\uD" in data:
            # JSON can name half a surrogate pair, which no encoding can write.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair is no text") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def first_repeated(value: Any, *, outside: Any = None) -> str | None:
    """A name that stands twice in an object anywhere in `value`, but not in `outside`; None if none does."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if current is outside:
            continue
        if isinstance(current, RepeatedNames):
            return current.repeated[0]
        if isinstance(current, dict | list):
            waiting.extend(current.values() if isinstance(current, dict) else current)
    return None
