"""The conformance vectors of `tests/vectors/routing`, and messages made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "vectors" / "routing"

LETTERS = {"true": "T", "false": "F", "undefined": "U"}
"""Verdict of the router -> letter in the vectors, where E is a condition that does not compile."""


def load(name: str) -> Any:
    """A file of vectors."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def message(case: dict[str, Any]) -> dict[str, Any]:
    """A message with the case's `application`, `system` and `body`; a body that is no text is JSON."""
    body = case.get("body")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body, ensure_ascii=False)
    return {
        "systemProperties": case.get("system", {}),
        "properties": case.get("application", {}),
        "body": text,
    }


def place(fault: Any) -> str:
    """Range of a fault as the vectors write it: `1:3-1:4`."""
    return f"{fault.line}:{fault.column}-{fault.end_line}:{fault.end_column}"
