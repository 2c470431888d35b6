"""What containers take of the machine (agent spec 3.9)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.runtime.stats import ContainerStats, cpu_percent, parse_stats

SAMPLE = {
    "cpu_stats": {"cpu_usage": {"total_usage": 500}, "system_cpu_usage": 10_000},
    "memory_stats": {"usage": 900, "limit": 5000, "stats": {"cache": 1, "total_inactive_file": 300}},
    "pids_stats": {"current": 4},
    "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"op": "Read", "value": 5},
            {"op": "read", "value": 6},
            {"op": "Write", "value": 7},
            {"op": "Total", "value": 99},
        ]
    },
}


def test_the_formulas() -> None:
    assert parse_stats(SAMPLE) == ContainerStats(500, 10_000, 600, 5000, 4, 11, 22, 11, 7)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"inactive_file": 100, "total_inactive_file": 200, "cache": 300}, 800),
        ({"total_inactive_file": 200, "cache": 300}, 700),
        ({"cache": 300}, 600),
        ({}, 900),
        ({"cache": 1000}, 0),
        (None, 900),
    ],
)
def test_memory_is_without_the_first_cache_that_is_there(details: Any, expected: int) -> None:
    assert parse_stats({"memory_stats": {"usage": 900, "stats": details}}).memory_bytes == expected


@pytest.mark.parametrize(
    ("cpu_ns", "system_ns", "expected"),
    [(50, 1000, 5.0), (0, 1000, 0.0), (-1, 1000, None), (1000, 1000, None), (5, 0, None), (5, -3, None)],
)
def test_share_of_the_processors(cpu_ns: int, system_ns: int, expected: float | None) -> None:
    before = parse_stats(SAMPLE)
    now = dataclasses.replace(
        before, cpu_ns=before.cpu_ns + cpu_ns, system_cpu_ns=before.system_cpu_ns + system_ns
    )
    assert cpu_percent(before, now) == expected


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*SAMPLE, "stats", "usage", "value", "op"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from(sorted(SAMPLE)))
def test_no_answer_breaks_it(answer: Any, member: str) -> None:
    parse_stats(answer)
    assert parse_stats({member: answer}).memory_bytes >= 0
