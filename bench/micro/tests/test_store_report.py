"""The tools that run, judge and show what the benchmark of the store measures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import store_report
from measuring.scenarios import RESULTS
from measuring.store_bars import BARS, FULL_BACKLOG, bar_table, collect, expiry_table, judge, store_table
from measuring.store_runs import Run, RunError, Sizes, measure, plan, rounds

if TYPE_CHECKING:
    from pathlib import Path

LISTED = {
    "scenarios": [
        {"name": "append_100B", "messages": 1000, "backlog": False},
        {"name": "group_1000_outstanding", "messages": 500, "backlog": False},
        {"name": "open_backlog", "messages": 1000, "backlog": True},
        {"name": "ttl", "messages": 1000, "backlog": False, "own": True},
    ],
    "contenders": [
        {"name": "edgehub", "modes": ["none", "group"], "built": True},
        {"name": "rocksdb", "modes": ["reference", "put"], "built": True},
        {"name": "sqlite", "modes": ["transaction"], "built": False},
    ],
}
SIZES = Sizes(scale=0.1, peer_scale=0.02, backlog=50, peer_backlog=7)


def figures(scenario: str, contender: str, mode: str, rate: float, **more: float) -> dict[str, Any]:
    """What a run could have measured."""
    return {
        "scenario": scenario,
        "contender": contender,
        "mode": mode,
        "messages": 1000,
        "messages_per_s": rate,
        "cpu_ns_per_message": 1e9 / rate,
        "peak_rss_bytes": 20_000_000,
        "disk_bytes": 67_108_864,
        **more,
    }


def verdicts(runs: list[dict[str, Any]]) -> dict[str, str]:
    """The verdict on every bar that something was measured for."""
    return {one.bar.name: one.verdict for one in judge(collect(runs)) if one.median is not None}


def test_a_round_has_what_was_built_in_the_modes_that_matter() -> None:
    assert plan(LISTED, SIZES) == [
        Run("append_100B", "edgehub", "none", 100),
        Run("append_100B", "edgehub", "group", 100),
        Run("append_100B", "rocksdb", "reference", 20),
        Run("append_100B", "rocksdb", "put", 20),
        Run("group_1000_outstanding", "edgehub", "group", 50),
        Run("group_1000_outstanding", "rocksdb", "reference", 10),
        Run("group_1000_outstanding", "rocksdb", "put", 10),
        Run("open_backlog", "edgehub", "none", 50),
        Run("open_backlog", "rocksdb", "reference", 7),
        Run("ttl", "edgehub", "none", 100),
        Run("ttl", "edgehub", "group", 100),
    ]
    assert {run.scenario for run in plan(LISTED, SIZES, "group")} == {"group_1000_outstanding"}
    assert plan(LISTED, SIZES, "nothing") == []


def test_every_other_round_is_reversed() -> None:
    one, two = Run("s", "a", "m", 1), Run("s", "b", "m", 1)
    assert list(rounds([one, two], 3)) == [one, two, two, one, one, two]


def test_medians_and_best_runs() -> None:
    (row,) = collect(figures("append_100B", "edgehub", "none", rate) for rate in (1e6, 4e6, 2e6))
    assert (row.median("messages_per_s"), row.best("messages_per_s")) == (2e6, 4e6)
    assert (row.median("cpu_ns_per_message"), row.best("cpu_ns_per_message")) == (500, 250)
    assert (row.messages, row.has("open_s")) == (1000, False)


def test_rows_of_a_scenario_stay_together() -> None:
    runs = [
        figures(scenario, c, "m", 1.0) for scenario, c in (("x", "a"), ("y", "a"), ("y", "b"), ("x", "b"))
    ]
    assert [(row.scenario, row.contender) for row in collect(runs)] == [
        ("x", "a"),
        ("x", "b"),
        ("y", "a"),
        ("y", "b"),
    ]


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [((3e6, 3e6, 1e6), "ok"), ((1e6, 2e6, 4e6), "best"), ((1e6, 1e6, 2e6), "not")],
)
def test_a_bar_on_a_figure(rates: tuple[float, ...], verdict: str) -> None:
    runs = [figures("append_100B", "edgehub", "none", rate, written_per_payload_byte=1.8) for rate in rates]
    found = verdicts(runs)
    assert found["append none, messages/s"] == verdict
    assert found["append none, bytes written per payload byte"] == "not"


def test_bars_on_ratios_need_the_peer() -> None:
    ours = figures("steady_1KB_two_endpoints", "edgehub", "none", 5e5, written_per_payload_byte=1.1)
    peer = figures("steady_1KB_two_endpoints", "rocksdb", "reference", 1e5)
    assert list(verdicts([ours])) == ["steady none, bytes written per payload byte"]
    assert set(verdicts([ours, peer]).values()) == {"ok"}
    slow = {**ours, "messages_per_s": 4e5, "cpu_ns_per_message": 2500.0}
    found = verdicts([slow, peer])
    assert found["steady none, times RocksDB's rate"] == "not"
    assert found["steady none, RocksDB's CPU time"] == "not"


def test_only_a_full_backlog_is_judged() -> None:
    opened = {"open_s": 1.0, "first_delivery_s": 0.2, "open_memory_bytes": 4e7, "open_peak_memory_bytes": 5e7}
    run = figures("open_backlog", "edgehub", "none", 6e5, **opened)
    assert verdicts([run]) == {}
    assert verdicts([{**run, "messages": FULL_BACKLOG}]) == {
        "10 M backlog: open, s": "ok",
        "10 M backlog: memory, bytes": "ok",
        "10 M backlog: first delivery, s": "not",
        "10 M backlog: drain, messages/s": "ok",
    }


def test_tables() -> None:
    opened = {"open_s": 1.0, "first_delivery_s": 2e-4, "open_memory_bytes": 4e6}
    rows = collect(
        [
            figures("append_100B", "edgehub", "none", 4e6, written_per_payload_byte=1.25),
            figures("open_backlog", "edgehub", "none", 6e5, **opened),
        ]
    )
    first, second = store_table(rows).splitlines()[1:]
    assert first.split()[:5] == ["append_100B,", "edgehub", "none", "1,000", "4,000,000"]
    assert first.endswith("1.25")
    assert second.endswith("1.00 s  200.00 us  4.0 MB")
    lines = bar_table(judge(rows)).splitlines()
    assert len(lines) == len(BARS) + 1
    assert lines[1].split()[-5:] == ["4,000,000", "4,000,000", ">=", "3,000,000", "ok"]


def test_an_expiry_is_shown_beside_the_time_before() -> None:
    quantiles = ("p50", "p99", "p999", "max")
    quiet = {f"append_{quantile}_s": 5e-6 for quantile in quantiles}
    expiring = {f"expiring_append_{quantile}_s": 2e-3 for quantile in quantiles}
    rows = collect([figures("append_100B", "edgehub", "none", 4e6)])
    assert expiry_table(rows) == ""
    rows = collect([figures("ttl", "edgehub", "none", 4e6, **quiet, **expiring)])
    before, during = expiry_table(rows).splitlines()[1:]
    assert before.startswith("ttl, edgehub none, nothing expires")
    assert before.endswith("5.00 us")
    assert during.startswith("ttl, edgehub none, 1,000 expire")
    assert during.endswith("2.00 ms")


def test_a_failed_run_says_which(tmp_path: Path) -> None:
    program = tmp_path / "program"
    run = Run("append_100B", "edgehub", "none", 1)
    with pytest.raises(RunError, match="append_100B, edgehub none"):
        measure(program, run, tmp_path)
    program.write_text("#!/bin/sh\necho 'endpoint 0: wrong' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RunError, match="endpoint 0: wrong"):
        measure(program, run, tmp_path)


@pytest.mark.parametrize("wrong", [["--scale", "0"], ["--repeats", "0"], ["--without", "edgehub"]])
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        store_report.parse(wrong)
    assert caught.value.code == 2


def test_recorded_results_can_be_judged_again() -> None:
    results = sorted(RESULTS.glob("*-store.json"))
    assert results
    for path in results:
        result = json.loads(path.read_text())
        judged = judge(collect(result["runs"]))
        verdicts = {one.bar.name: store_report.judged_json(one)["verdict"] for one in judged}
        # A bar that came later is not in an older result.
        recorded = {bar["name"]: bar["verdict"] for bar in result["bars"]}
        assert recorded == {name: verdicts[name] for name in recorded}
