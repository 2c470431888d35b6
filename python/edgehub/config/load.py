"""Fills the settings from the environment, once, at start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from edgehub.config.environment import Environment
from edgehub.config.inactive import INACTIVE, is_silent
from edgehub.config.rows import Row, rows_of
from edgehub.config.settings import SECTIONS, Settings
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_ROUTE_DEFAULT = (("r1", "FROM /* INTO $upstream"),)
"""Routes of `configSource=local` when the environment names none, as shipped with the reference."""


T = TypeVar("T")


class SettingsError(EdgehubError):
    """A setting that cannot work. The text names the variable, the value and what would be right."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what is worth one warning line each."""

    settings: Settings
    warnings: tuple[str, ...]


def load_settings(variables: Mapping[str, str]) -> Loaded:
    """Reads every row from an environment.

    :raises SettingsError: a value that cannot be read; lenient rows fall back to their default instead.
    """
    environment = Environment(variables)
    warnings: list[str] = []
    sections: dict[str, Any] = {
        name: _load_section(section, environment, warnings) for name, section in SECTIONS.items()
    }
    local_routes = tuple(environment.under("routes")) or LOCAL_ROUTE_DEFAULT
    settings = Settings(**sections, local_routes=local_routes)
    _warn_of_inactive(environment, settings, warnings)
    return Loaded(settings, tuple(warnings))


def _load_section(section: type[T], environment: Environment, warnings: list[str]) -> T:
    values: dict[str, Any] = {}
    for field_name, row in rows_of(section):
        found = environment.find(row.env, *row.aliases)
        if found is not None:
            values[field_name] = _read(row, *found, warnings)
    return section(**values)


def _read(row: Row, spelling: str, text: str, warnings: list[str]) -> object:
    remark = row.reader.remark(text)
    if remark:
        warnings.append(f"{spelling}={text!r}: {remark}")
    try:
        return row.reader.read(text)
    except ValueError as wanted:
        shown = "(not shown)" if row.secret else repr(text)
        problem = f"{spelling}={shown}: expected {wanted}"
        if not row.lenient:
            raise SettingsError(problem) from None
        warnings.append(f"{problem}; using {row.reader.write(row.default)}")
        return row.default


def _warn_of_inactive(environment: Environment, settings: Settings, warnings: list[str]) -> None:
    named = []
    for entry in INACTIVE:
        found = environment.find(entry.env)
        if found is not None and not is_silent(entry, found[1]):
            named.append(found[0])
    if settings.upstream.protocol != "Amqp":
        named.append("UpstreamProtocol")
    if named:
        warnings.append("Settings accepted but without effect in this version: " + ", ".join(sorted(named)))
