"""`lastDesiredStatus` and `lastDesiredVersion` (agent spec 1.8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeagent.manifest.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE_SUCCESS: Final = 200
CODE_UNKNOWN: Final = 406
CODE_FAILED: Final = 500
DESCRIPTION_CHARS_MAX: Final = 1000
"""Longer texts are cut; a string in a twin may have 4096 bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the newest deployment.

    :ivar description: empty when it succeeded.
    """

    code: int
    description: str = ""


BEFORE_START: Final = Outcome(CODE_UNKNOWN)
SUCCESS: Final = Outcome(CODE_SUCCESS)
SHUTDOWN: Final = Outcome(CODE_UNKNOWN, "Agent is not running")


def outcome_of_faults(faults: Sequence[Exception]) -> Outcome:
    """Of what kept the agent from making a plan: the manifest, the engine, the identities (row R07).

    One fault of the manifest has its own code, anything else is 500; several give one text.
    """
    if not faults:
        return SUCCESS
    if len(faults) == 1:
        fault = faults[0]
        if isinstance(fault, ManifestError):
            return Outcome(fault.code, cut(fault.description))
        return Outcome(CODE_FAILED, cut(_text(fault)))
    return Outcome(CODE_FAILED, cut("; ".join(_text(fault) for fault in faults)))


def outcome_of_run(previous: Outcome, failures: Sequence[str], *, complete: bool) -> Outcome:
    """Of a plan that ran: failures count, and what was left out keeps the code of before (rows R05, R06).

    :param complete: no step was left out, such as one that waits out a back-off.
    """
    if failures:
        return Outcome(CODE_FAILED, cut("; ".join(failures)))
    return SUCCESS if complete else previous


def version_to_report(applied: int | None, reported_before: int | None) -> int:
    """The version of the deployment in force; without one, what was reported before (row R04)."""
    return applied or reported_before or 0


def cut(text: str) -> str:
    """A text that is short enough for a twin."""
    return text if len(text) <= DESCRIPTION_CHARS_MAX else f"{text[: DESCRIPTION_CHARS_MAX - 3]}..."


def _text(fault: Exception) -> str:
    if isinstance(fault, ManifestError):
        return fault.description
    return str(fault) or type(fault).__name__
