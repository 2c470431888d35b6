"""Which version of the Engine API is spoken."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.runtime.errors import EngineAnswerError, EngineVersionError
from edgeagent.runtime.versions import NEWEST, OLDEST, ApiVersion, agree


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        ("1.41", "1.12", "1.41"),
        ("1.47", "1.24", "1.47"),
        (str(NEWEST), "1.24", str(NEWEST)),
        ("1.99", "1.44", str(NEWEST)),
        ("1.99", str(NEWEST), str(NEWEST)),
        ("1.41", None, "1.41"),
        ("2.0", "1.44", str(NEWEST)),
    ],
)
def test_the_newest_that_both_know_is_spoken(newest: str, oldest: str | None, spoken: str) -> None:
    answer = {"ApiVersion": newest, "MinAPIVersion": oldest, "Version": "20.10", "Arch": "arm64"}
    agreed = agree(answer)
    assert str(agreed.api) == spoken
    assert str(agreed.newest_api) == newest
    assert (agreed.engine, agreed.architecture, agreed.kernel) == ("20.10", "arm64", "")


def test_versions_are_compared_as_numbers() -> None:
    assert ApiVersion.parse("1.100") > ApiVersion.parse("1.99") > ApiVersion.parse("v1.9")


def test_an_engine_that_is_too_old_is_named_with_what_is_needed() -> None:
    too_old = f"{OLDEST.major}.{OLDEST.minor - 1}"
    with pytest.raises(EngineVersionError, match=rf"{too_old} at most; {OLDEST} is needed"):
        agree({"ApiVersion": too_old, "MinAPIVersion": "1.12"})


def test_an_engine_that_wants_newer_than_we_know() -> None:
    too_new = f"{NEWEST.major}.{NEWEST.minor + 1}"
    with pytest.raises(EngineVersionError, match=rf"{too_new} and newer; this agent knows {NEWEST} at most"):
        agree({"ApiVersion": "1.99", "MinAPIVersion": too_new})


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"ApiVersion": 1.41}, {"ApiVersion": "1.4x"}])
def test_what_is_no_answer_of_an_engine(answer: Any) -> None:
    with pytest.raises(EngineAnswerError):
        agree(answer)


@given(
    st.none() | st.text() | st.integers() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text())
)
def test_no_answer_raises_anything_else(answer: Any) -> None:
    for content in (answer, {"ApiVersion": answer}, {"ApiVersion": "1.41", "MinAPIVersion": answer}):
        with contextlib.suppress(EngineAnswerError, EngineVersionError):
            agree(content)
