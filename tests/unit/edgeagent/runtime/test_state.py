"""States of containers (row C16)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.model.current import RuntimeStatus
from edgeagent.runtime import labels
from edgeagent.runtime.state import current_module, is_ours, status_of, time_ms

STOPPED, FAILED, RUNNING = RuntimeStatus.STOPPED, RuntimeStatus.FAILED, RuntimeStatus.RUNNING


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        *((state, code, STOPPED) for state in ("created", "paused", "restarting") for code in (0, 1)),
        *((state, 0, STOPPED) for state in ("removing", "exited")),
        *((state, code, FAILED) for state in ("removing", "exited") for code in (1, 137, -1)),
        ("dead", 0, RuntimeStatus.DEAD),
        ("running", 0, RUNNING),
        ("running", 1, RUNNING),
        ("", 0, RuntimeStatus.UNKNOWN),
        ("Running", 0, RuntimeStatus.UNKNOWN),
        ("frozen", 0, RuntimeStatus.UNKNOWN),
    ],
)
def test_c16_engine_state_to_module_status(state: str, code: int, expected: RuntimeStatus) -> None:
    assert status_of(state, code) is expected


@pytest.mark.parametrize(
    ("health", "expected"), [("", RUNNING), ("starting", RUNNING), ("healthy", RUNNING), ("none", RUNNING),
                             ("unhealthy", RuntimeStatus.UNHEALTHY)]
)  # fmt: skip
def test_a_failing_health_check_makes_a_running_module_unhealthy(
    health: str, expected: RuntimeStatus
) -> None:
    assert status_of("running", 0, health) is expected
    assert status_of("exited", 1, health) is FAILED


def details(**state: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Name": "/sensor",
        "Image": "sha256:1",
        "Config": {
            "Image": "sha256:1",
            "Labels": {
                labels.OWNER: labels.OWNER_VALUE,
                labels.ORIGINAL_IMAGE: "reg/x:1",
                labels.SPEC_HASH: "h",
            },
        },
        "State": {
            "Status": "exited",
            "ExitCode": 3,
            "StartedAt": "2026-08-01T10:00:00.123456789Z",
            "FinishedAt": "2026-08-01T12:00:01+02:00",
        }
        | state,
    }


def test_a_container_as_a_module() -> None:
    module = current_module(details())
    assert (module.name, module.image, module.image_id) == ("sensor", "reg/x:1", "sha256:1")
    assert (module.spec_hash, module.container_id) == ("h", "c1")
    assert (module.status, module.exit_code) == (FAILED, 3)
    assert module.finished_at_ms is not None
    assert module.started_at_ms is not None
    assert module.finished_at_ms - module.started_at_ms == 877


def test_without_labels_of_ours() -> None:
    given_details = details()
    given_details["Config"]["Labels"] = None
    module = current_module(given_details)
    assert (module.image, module.spec_hash) == ("sha256:1", None)
    assert not is_ours(given_details)
    assert is_ours(details())


def test_the_engines_minimum_date_means_never() -> None:
    module = current_module(details(FinishedAt="0001-01-01T00:00:00Z", StartedAt="0001-01-01T00:00:00Z"))
    assert (module.started_at_ms, module.finished_at_ms, module.exit_code) == (None, None, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T00:00:00.123999999Z", 123),
        ("1970-01-01T01:00:00.001+01:00", 1),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-08-01", None),
        (None, None),
        (5, None),
        ("0001-01-01T00:30:00+14:00", None),
    ],
)
def test_times(text: Any, expected: int | None) -> None:
    assert time_ms(text) == expected


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"OOMKilled": True, "ExitCode": 137}, "ended by the system: out of memory"),
        ({"Status": "created", "Error": "no such file"}, "no such file"),
        ({"Status": "running", "Health": {"Status": "unhealthy", "FailingStreak": 4}},
         "the health check failed 4 times"),
        ({"Status": "running", "OOMKilled": True, "Error": "old"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_else_is_known_is_said_for_people(state: dict[str, Any], text: str) -> None:
    assert current_module(details(**state)).status_text == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Status", "Labels", "Health", "ExitCode", "StartedAt"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["Id", "Name", "Image", "Config", "State"]), JSON))
def test_no_answer_breaks_it(answer: dict[str, Any]) -> None:
    assert current_module(answer).status in RuntimeStatus
    is_ours(answer)
