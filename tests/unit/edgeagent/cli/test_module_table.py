"""The table of `iotedge list` (row X14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.cli.module_table import ModuleRow, describe, duration, module_rows, plain_table

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _status(started_s: float | None = None, ended_s: float | None = None, code: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if started_s is not None:
        found["startTime"] = (NOW - timedelta(seconds=started_s)).isoformat()
    if ended_s is not None:
        exit_time = (NOW - timedelta(seconds=ended_s)).isoformat()
        found["exitStatus"] = {"exitTime": exit_time, "statusCode": code}
    return found


@pytest.mark.parametrize(
    ("runtime", "status", "text"),
    [
        ("running", {}, "Up"),
        ("running", _status(300), "Up 5 minutes"),
        ("running", _status(12), "Up 12 seconds"),
        ("running", _status(1), "Up 1 second"),
        ("running", _status(-5), "Up 0 seconds"),
        ("unhealthy", _status(120), "Up 2 minutes"),
        ("stopped", {}, "Stopped"),
        ("stopped", _status(9999, 3600), "Stopped an hour ago"),
        ("dead", _status(None, 60), "Stopped a minute ago"),
        ("failed", {}, "Failed"),
        ("failed", _status(9999, 20), "Failed (1) 20 seconds ago"),
        ("backoff", _status(9999, 7200, "137"), "Failed (137) 2 hours ago"),
        ("unknown", _status(9), "Unknown"),
        ("odd", {}, "Unknown"),
        ("running", {"startTime": "yesterday"}, "Up"),
        ("running", {"startTime": 5}, "Up"),
    ],
)
def test_x14_descriptions(runtime: str, status: dict[str, Any], text: str) -> None:
    assert describe(runtime, status, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (20, "20 seconds"),
        (45, "45 seconds"),
        (46, "a minute"),
        (90, "a minute"),
        (91, "2 minutes"),
        (45 * 60, "45 minutes"),
        (46 * 60, "an hour"),
        (5 * 3600, "5 hours"),
        (23 * 3600, "a day"),
        (3 * 86_400, "3 days"),
        (7 * 86_400, "a week"),
        (14 * 86_400, "2 weeks"),
        (30 * 86_400, "a month"),
        (100 * 86_400, "3 months"),
        (360 * 86_400, "a year"),
        (800 * 86_400, "2 years"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_x14_table() -> None:
    rows = [
        ModuleRow("edgeAgent", "running", "Up 2 minutes", "reg.example.net/edge-agent:1.6"),
        ModuleRow("edgeHub", "running", "Up a minute", "reg.example.net/edge-hub:1.6"),
    ]
    assert list(plain_table(rows)) == [
        "NAME             STATUS           DESCRIPTION      Config",
        "edgeAgent        running          Up 2 minutes     reg.example.net/edge-agent:1.6",
        "edgeHub          running          Up a minute      reg.example.net/edge-hub:1.6",
    ]


def test_a_long_cell_makes_its_column_wider() -> None:
    lines = list(plain_table([ModuleRow("a" * 20, "failed", "Failed (1) 20 seconds ago", "x:1")]))
    assert lines[0].index("STATUS") == lines[1].index("failed") == 22
    assert lines[0].index("Config") == lines[1].index("x:1")


def test_modules_of_the_api_are_sorted_by_name() -> None:
    modules = [
        {
            "name": name,
            "config": {"settings": {"image": f"{name}:1"}},
            "status": {"runtimeStatus": {"status": "running"}},
        }
        for name in ("b", "a")
    ]
    assert [row.cells() for row in module_rows(modules, NOW)] == [
        ("a", "running", "Up", "a:1"),
        ("b", "running", "Up", "b:1"),
    ]


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "config", "status", "runtimeStatus", "startTime"]), below)
    ),
)


@given(st.lists(st.dictionaries(st.sampled_from(["name", "config", "status"]), JSON)))
def test_any_answer_makes_a_table(modules: list[dict[str, Any]]) -> None:
    assert len(list(plain_table(module_rows(modules, NOW)))) == len(modules) + 1
