"""Checks and what they find. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgeagent.checks.situation import Situation

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Category(StrEnum):
    """Heading of a group of checks."""

    CONFIGURATION = "Configuration checks"
    CONNECTIVITY = "Connectivity checks"


class Result(StrEnum):
    """How a check ended.

    `ignored`: there is nothing to look at, and not even a line about it. `fatal`: an error after which no
    other check makes sense.
    """

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    SKIPPED = "skipped"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one check.

    :ivar details: what is wrong, then what to do.
    :ivar reason: why it was skipped; blank when an earlier check failed.
    :ivar info: for machines.
    """

    result: Result
    details: tuple[str, ...] = ()
    reason: str = ""
    info: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


def ok(**info: Any) -> Finding:
    return Finding(Result.OK, info=info)


def warning(*details: str, **info: Any) -> Finding:
    return Finding(Result.WARNING, details, info=info)


def error(*details: str, **info: Any) -> Finding:
    return Finding(Result.ERROR, details, info=info)


def error_of(fault: Exception) -> Finding:
    """An error that says for itself what is wrong; what may not be read needs other rights."""
    text = str(fault)
    return error(text, "run the check with sudo") if "Permission denied" in text else error(text)


def fatal(*details: str) -> Finding:
    return Finding(Result.FATAL, details)


def not_applicable(reason: str) -> Finding:
    """There is nothing to check on this device."""
    return Finding(Result.SKIPPED, reason=reason)


def cannot_be_checked() -> Finding:
    """Something that it needs failed before, which was told there."""
    return Finding(Result.SKIPPED)


def ignored() -> Finding:
    return Finding(Result.IGNORED)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    :ivar about: what is so when it ends well.
    """

    id: str
    category: Category
    about: str
    run: Callable[[Situation], Awaitable[Finding]]
