"""JSON in one form only, for comparing and hashing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted members and no white space; equal values give equal bytes.

    :param value: what JSON can hold; any mapping counts as an object.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_object)
    return text.encode("utf-8", "surrogatepass")


def _as_object(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
