"""Reads values out of a TOML table, with the place in every error and a note about what nobody asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN_CHARS_MAX = 60


class ConfigFileError(AgentError):
    """A configuration file that cannot be used.

    :ivar place: key in it, such as `moby_runtime.uri`; blank for the file as a whole.
    """

    def __init__(self, place: str, text: str) -> None:
        super().__init__(f"{place}: {text}" if place else text)
        self.place = place


class Table:
    """One table.

    :param place: its name with those above it, blank for the whole file.
    :param notes: takes warnings, of all tables of a file.
    """

    def __init__(self, place: str, values: Mapping[str, Any], notes: list[str]) -> None:
        self.place = place
        self._values = values
        self.notes = notes
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        self._asked.add(name)
        return name in self._values

    def at(self, name: str) -> str:
        """Place of a member."""
        return f"{self.place}.{name}" if self.place else name

    def error(self, name: str, text: str) -> ConfigFileError:
        """An error about a member, to be raised."""
        return ConfigFileError(self.at(name), text)

    def note(self, name: str, text: str) -> None:
        """A warning about a member."""
        self.notes.append(f"{self.at(name)}: {text}")

    def raw(self, name: str) -> Any:
        """The value as it is, None without."""
        self._asked.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A text that is not blank."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.error(name, "expected a text in quotation marks that is not blank")
        return value.strip()

    def required(self, name: str) -> str:
        """A text that must be there."""
        if name not in self:
            raise self.error(name, "is missing; expected a text in quotation marks")
        return self.text(name)

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of some texts, as it is written here; in any case."""
        value = self.text(name, default)
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise self.error(name, f'"{value[:_SHOWN_CHARS_MAX]}" is not one of {", ".join(choices)}')

    def truth(self, name: str, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(name, "expected true or false, without quotation marks")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(name, f"expected a whole number from {least} to {most}")
        return value

    def table(self, name: str) -> Table:
        """A table below this one; an empty one when there is none."""
        value = self.raw(name)
        if value is not None and not isinstance(value, dict):
            raise self.error(name, f"expected a table, [{self.at(name)}]")
        return Table(self.at(name), value or {}, self.notes)

    def tables(self, name: str) -> list[Table]:
        """An array of tables."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(name, f"expected an array of tables, [[{self.at(name)}]]")
        return [Table(f"{self.at(name)}[{at}]", item, self.notes) for at, item in enumerate(value)]

    def texts(self, name: str) -> dict[str, str]:
        """A table with texts of any name."""
        table = self.table(name)
        for key, value in table._values.items():
            if not isinstance(value, str):
                raise table.error(key, "expected a text in quotation marks")
        return dict(table._values)

    def file(self, name: str) -> Path | None:
        """Path of a file that is given as a URI.

        :raises ConfigFileError: another kind of place, such as a hardware module.
        """
        value = self.text(name)
        if not value:
            return None
        scheme, separator, rest = value.partition("://")
        if value.lower().startswith("pkcs11:"):
            raise self.error(name, "keys in hardware (pkcs11) are not served; expected file:///path/of/it")
        if not separator or scheme.lower() != "file" or not rest.startswith("/"):
            raise self.error(name, "expected the URI of a file, file:///path/of/it")
        path = unquote(rest)
        if "\0" in path:
            raise self.error(name, "a path cannot have the character 0")
        return Path(path)

    def unserved(self, name: str, text: str) -> None:
        """Warns about a member that has no effect here."""
        if name in self:
            self.note(name, f"has no effect here: {text}")

    def finish(self) -> None:
        """Warns about members that nobody asked for."""
        for name in self._values:
            if name not in self._asked:
                self.note(name[:_SHOWN_CHARS_MAX], "is not known and has no effect; is it misspelt?")
