"""The section `[image_garbage_collection]` of the configuration (agent spec 7.9, row X12). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Any

from edgeagent.errors import AgentError
from edgeagent.image_gc.durations import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTION = "image_garbage_collection"
DAY_S = 86_400

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_NAMES = ("enabled", "cleanup_recurrence", "image_age_cleanup_threshold", "cleanup_time")


class GcSettingsError(AgentError):
    """A setting of the image garbage collection that cannot be used.

    :ivar name: with the section, such as `image_garbage_collection.cleanup_time`.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = f"{SECTION}.{name}"
        super().__init__(f"{self.name}: {text}")


@dataclass(frozen=True, slots=True)
class GcSettings:
    """When images are deleted, and which.

    :param recurrence_days: from one run to the next.
    :param image_age_s: how long an image must not have been used.
    :param cleanup_time: of the day, local.
    """

    enabled: bool = True
    recurrence_days: int = 1
    image_age_s: float = 7 * DAY_S
    cleanup_time: time = time(0, 0)


def read_gc_settings(section: Mapping[str, Any]) -> GcSettings:
    """The settings; what is left out has its default.

    :raises GcSettingsError: a value that cannot be used, or a name that is not known.
    """
    for name in section:
        if name not in _NAMES:
            raise GcSettingsError(name, f"is not known; there are {', '.join(_NAMES)}")
    enabled = section.get("enabled", True)
    if not isinstance(enabled, bool):
        raise GcSettingsError("enabled", "expected true or false")
    return GcSettings(
        enabled=enabled,
        recurrence_days=_recurrence_days(section.get("cleanup_recurrence", "1d")),
        image_age_s=_duration_s(
            "image_age_cleanup_threshold", section.get("image_age_cleanup_threshold", "7d")
        ),
        cleanup_time=_time_of_day(section.get("cleanup_time", "00:00")),
    )


def _recurrence_days(value: Any) -> int:
    """Whole days; none at all, which the reference lets pass, would delete without pause."""
    seconds = _duration_s("cleanup_recurrence", value)
    if seconds % DAY_S or not seconds:
        raise GcSettingsError(
            "cleanup_recurrence", f'"{value}" is not a duration that is a multiple of days, such as 1d or 48h'
        )
    return int(seconds // DAY_S)


def _duration_s(name: str, value: Any) -> float:
    try:
        return parse_duration_s(_text(name, value))
    except ValueError as fault:
        raise GcSettingsError(name, str(fault)) from None


def _time_of_day(value: Any) -> time:
    found = _TIME.fullmatch(_text("cleanup_time", value).strip())
    if found is None:
        raise GcSettingsError("cleanup_time", f'"{value}" is no time of the day; expected 00:00 to 23:59')
    return time(int(found[1]), int(found[2]))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise GcSettingsError(name, "expected a text in quotation marks")
    return value
