"""Members of a call's payload, names in any case (agent spec 5.1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from edgeagent.methods.errors import BadCallError, MethodError

SCHEMA_MAJOR = 1
_PARSING = "Error parsing command payload because of error - "
_log = logging.getLogger(__name__)


class Payload:
    """An object of a payload."""

    def __init__(self, value: Any, place: str = "payload") -> None:
        """:raises BadCallError: not an object."""
        if not isinstance(value, Mapping):
            raise BadCallError(f"{_PARSING}{place}: expected an object")
        self._place = place
        self._members = {str(name).lower(): member for name, member in value.items()}

    def get(self, name: str) -> Any:
        return self._members.get(name.lower())

    def text(self, name: str) -> str | None:
        """A string, None when it is missing or null."""
        value: str | None = self._of_type(name, str, "a string")
        return value

    def required_text(self, name: str) -> str:
        """:raises BadCallError: missing or blank."""
        value = self.text(name)
        if value is None or not value.strip():
            raise BadCallError(f"{_PARSING}{self._place}.{name}: is missing")
        return value

    def number(self, name: str) -> int | None:
        """A whole number, None when it is missing or null."""
        value: int | None = self._of_type(name, int, "a whole number")
        if isinstance(value, bool):
            raise BadCallError(f"{_PARSING}{self._place}.{name}: expected a whole number")
        return value

    def truth(self, name: str) -> bool:
        """True or false; missing and null mean false."""
        return bool(self._of_type(name, bool, "true or false"))

    def _of_type(self, name: str, kind: type, wanted: str) -> Any:
        value = self.get(name)
        if value is not None and not isinstance(value, kind):
            raise BadCallError(f"{_PARSING}{self._place}.{name}: expected {wanted}")
        return value

    def one_of(self, name: str, *choices: str) -> str:
        """One of some names in any case, the first when it is missing.

        :raises BadCallError: another one.
        """
        value = self.text(name)
        if value is None:
            return choices[0]
        if value.lower() not in choices:
            raise BadCallError(
                f'{_PARSING}{self._place}.{name}: "{value}" is not one of {", ".join(choices)}'
            )
        return value.lower()

    def check_schema(self) -> None:
        """Takes `schemaVersion` 1.x.

        :raises BadCallError: missing.
        :raises MethodError: another major version (row D06).
        """
        version = self.required_text("schemaVersion")
        found = re.fullmatch(r"(\d{1,9})\.(\d{1,9})(\.\d{1,9}){0,2}", version.strip(), re.ASCII)
        if found is None or int(found[1]) != SCHEMA_MAJOR:
            raise MethodError(f"The payload schema version {version} is not compatible with the version 1.0")
        if int(found[2]):
            _log.info("payload of schema version %s: read as 1.0", version)
