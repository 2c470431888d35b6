"""Secrets do not go into reported properties (agent spec 11, row 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"passw(or)?d|passphrase|secret|token|api_?key|access_?key|private_?key|connection_?string|credential",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(r"SharedAccess(Key|Signature)\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


def redacted(name: str, value: str) -> str:
    """The value of a variable, or stars if its name or its look says that it is a secret."""
    if value and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value)):
        return HIDDEN
    return value


def redacted_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Create options with the secrets of their `Env` hidden."""
    env = options.get("Env")
    if not isinstance(env, list):
        return options
    return {**options, "Env": [_entry(entry) for entry in env]}


def _entry(entry: Any) -> Any:
    if not isinstance(entry, str) or "=" not in entry:
        return entry
    name, _, value = entry.partition("=")
    return f"{name}={redacted(name, value)}"
