"""No secret leaves the device in a support bundle. Pure.

Values are hidden by the name of what they belong to and by their own look; what a module writes to its log
under no name is as it wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from edgeagent.report.redact import HIDDEN, redacted
from edgeagent.runtime import labels

DEPTH_MAX = 60
"""Deeper objects are hidden as a whole."""

_IN_LINE: Final = re.compile(rb"(SharedAccessKey=|\bsig=)[^\s;&\"']+")
_JSON_LABELS: Final = (labels.ENV, labels.CREATE_OPTIONS)


def redacted_line(line: bytes) -> bytes:
    """A line of a log without keys of connection strings and signatures of tokens."""
    if b"sig=" not in line and b"SharedAccessKey=" not in line:
        return line
    return _IN_LINE.sub(rb"\1" + HIDDEN.encode(), line)


def redacted_document(value: Any) -> Any:
    """What an engine says of a container, without its secrets."""
    return _redacted("", value, DEPTH_MAX)


def _redacted(name: str, value: Any, depth: int) -> Any:
    """:param name: of the value, its parent's before it: `Secrets.value` tells as much as `value.secret`."""
    if depth == 0:
        return HIDDEN
    if isinstance(value, Mapping):
        last = name.rpartition(".")[2]
        return {key: _redacted(f"{last}.{key}", item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return _list(name, value, depth)
    if not isinstance(value, str):
        return value
    if name.endswith(_JSON_LABELS):
        return _json_text(value, depth)
    return redacted(_word(name), value)


def _list(name: str, items: list[Any], depth: int) -> list[Any]:
    """Environments and command lines: `NAME=value`, `--name=value`, `--name value`."""
    found: list[Any] = []
    before = ""
    for item in items:
        if isinstance(item, str):
            found.append(_item(before if before.startswith("-") else name, item))
            before = item
        else:
            found.append(_redacted(name, item, depth - 1))
    return found


def _item(name: str, item: str) -> str:
    own, separator, value = item.partition("=")
    hidden = redacted(_word(name), item)
    if hidden == HIDDEN and not separator:
        return HIDDEN
    return f"{own}={redacted(_word(own), value)}" if separator else hidden


def _word(name: str) -> str:
    """Options and labels write `api-key`, variables `API_KEY`."""
    return name.replace("-", "_")


def _json_text(text: str, depth: int) -> str:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return HIDDEN
    return json.dumps(_redacted("", content, depth - 1))
