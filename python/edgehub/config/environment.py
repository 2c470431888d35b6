"""Look-up of settings in the environment, with the naming rules of .NET configuration.

Names are case-insensitive and `__` separates levels just as `:` does (settings spec 5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def normal_name(name: str) -> str:
    """The form in which two spellings of one setting are equal."""
    return name.replace("__", ":").casefold()


class Environment:
    """A frozen view of the process environment under normal names.

    When one setting is given in several spellings the last one in byte order of the spellings wins, so
    that the outcome does not depend on the order of the environment.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._values: dict[str, tuple[str, str]] = {}
        for name in sorted(variables):
            self._values[normal_name(name)] = (name, variables[name])

    def find(self, *names: str) -> tuple[str, str] | None:
        """Spelling and value of the first of the names that is set, or None."""
        for name in names:
            found = self._values.get(normal_name(name))
            if found is not None:
                return found
        return None

    def under(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Names below a prefix (`routes` finds `routes__up`), as spelled after it, with values."""
        start = normal_name(prefix) + ":"
        for key, (spelling, value) in sorted(self._values.items()):
            if key.startswith(start):
                yield spelling.replace("__", ":")[len(start) :], value
