"""Reading members of a JSON object: names in any case, the place in every error (agent spec 1.4)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from edgeagent.manifest.errors import ManifestFormatError

Choice = TypeVar("Choice", bound=Enum)
JSON_TYPES = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}


class Fields:
    """The members of one object of a manifest.

    Names are found in any case; two that differ in nothing but case are an error, as nobody could say
    which one counts.

    :ivar path: place of the object, such as `modules.sensor`.
    """

    def __init__(self, value: Any, path: str) -> None:
        """:raises ManifestFormatError: not an object, or a name twice."""
        if not isinstance(value, Mapping):
            raise ManifestFormatError(path, f"expected an object, found {json_type(value)}")
        self.path = path
        self._members: dict[str, Any] = {}
        for name, member in value.items():
            if name.lower() in self._members:
                raise ManifestFormatError(self.place(name), "stands twice, in different case")
            self._members[name.lower()] = member

    def place(self, name: str) -> str:
        """Path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return name.lower() in self._members

    def get(self, name: str) -> Any:
        """The value, None when the member is missing or null."""
        return self._members.get(name.lower())

    def starting_with(self, prefix: str) -> dict[str, Any]:
        """Members whose name starts so: lower-case name to value, in order of the names."""
        start = prefix.lower()
        return {name: self._members[name] for name in sorted(self._members) if name.startswith(start)}

    def required(self, name: str) -> Any:
        """:raises ManifestFormatError: missing or null."""
        value = self.get(name)
        if value is None:
            raise ManifestFormatError(self.place(name), "is missing")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string; null and missing mean `default`, and are an error without one."""
        value = self.required(name) if default is None else self.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise ManifestFormatError(self.place(name), f"expected a string, found {json_type(value)}")
        return value

    def choice(self, name: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """One of an enumeration, in any case. Null is an error where the member may only be left out."""
        if default is not None and not self.has(name):
            return default
        value = self.required(name) if default is None else self.get(name)
        for member in kind:
            if isinstance(value, str) and value.strip().lower() == member.value:
                return member
        allowed = ", ".join(str(member.value) for member in kind)
        raise ManifestFormatError(self.place(name), f"{shown(value)} is not one of {allowed}")

    def object(self, name: str) -> Fields:
        """The member as an object, which must be there."""
        return Fields(self.required(name), self.place(name))

    def items(self, name: str) -> Mapping[str, Any]:
        """The members of an object whose names are free; null and missing mean none."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise ManifestFormatError(self.place(name), f"expected an object, found {json_type(value)}")
        return value


def json_type(value: Any) -> str:
    """What JSON calls it, with an article."""
    return JSON_TYPES.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value for an error text, short."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
