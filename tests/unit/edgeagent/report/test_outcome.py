"""`lastDesiredStatus` and `lastDesiredVersion` (rows R01, R04 to R07)."""

from __future__ import annotations

import pytest

from edgeagent.errors import AgentError
from edgeagent.manifest.errors import EMPTY_TEXT, EmptyManifestError, ManifestFormatError, SchemaVersionError
from edgeagent.report.outcome import (
    BEFORE_START,
    DESCRIPTION_CHARS_MAX,
    SHUTDOWN,
    SUCCESS,
    Outcome,
    outcome_of_faults,
    outcome_of_run,
    version_to_report,
)


def test_r01_the_ends() -> None:
    """Row R01."""
    assert Outcome(406) == BEFORE_START
    assert Outcome(406, "Agent is not running") == SHUTDOWN


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (EmptyManifestError(), Outcome(417, EMPTY_TEXT)),
        (
            SchemaVersionError("Invalid desired properties schema version x"),
            Outcome(412, "Invalid desired properties schema version x"),
        ),
        (ManifestFormatError("a.b", "odd"), Outcome(400, "Agent configuration format is invalid. a.b: odd")),
        (AgentError("the engine does not answer"), Outcome(500, "the engine does not answer")),
        (OSError(), Outcome(500, "OSError")),
    ],
)
def test_one_fault(fault: Exception, wanted: Outcome) -> None:
    assert outcome_of_faults([fault]) == wanted


def test_r07_several_faults() -> None:
    """Row R07."""
    outcome = outcome_of_faults([AgentError("no engine"), ManifestFormatError("a", "odd")])
    assert outcome == Outcome(500, "no engine; Agent configuration format is invalid. a: odd")
    assert outcome_of_faults([]) == SUCCESS


def test_r05_failed_steps() -> None:
    """Row R05."""
    assert outcome_of_run(SUCCESS, ["pull m: 404", "start n: no"], complete=True) == Outcome(
        500, "pull m: 404; start n: no"
    )


@pytest.mark.parametrize("previous", [SUCCESS, Outcome(500, "pull m: 404"), BEFORE_START])
def test_r06_what_was_left_out_keeps_the_code(previous: Outcome) -> None:
    """Row R06."""
    assert outcome_of_run(previous, [], complete=False) == previous
    assert outcome_of_run(previous, [], complete=True) == SUCCESS


@pytest.mark.parametrize(
    ("applied", "before", "wanted"), [(7, 3, 7), (0, 3, 3), (None, 3, 3), (None, None, 0), (0, None, 0)]
)
def test_r04_the_version_in_force(applied: int | None, before: int | None, wanted: int) -> None:
    """Row R04."""
    assert version_to_report(applied, before) == wanted


def test_long_texts_are_cut() -> None:
    text = "x" * DESCRIPTION_CHARS_MAX
    assert outcome_of_faults([AgentError(text)]).description == text
    cut = outcome_of_faults([AgentError(text + "x")]).description
    assert len(cut) == DESCRIPTION_CHARS_MAX
    assert cut.endswith("x...")
