"""The tools that read, judge and show what the micro benches measure."""

from __future__ import annotations

import json
from pathlib import Path

import callgrind
import pytest
import write_numbers
from measuring.criterion import Timing, read_timing
from measuring.machine import machine, tool_version
from measuring.python_side import Rate, Ratio, rate, ratios
from measuring.scenarios import RESULTS, Scenario
from measuring.tables import duration, ratio_table, timing_table


def test_criterion_files_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "kind_10" / "new"
    folder.mkdir(parents=True)
    (folder / "estimates.json").write_text('{"median": {"point_estimate": 123.44}}')
    (folder / "sample.json").write_text('{"iters": [10, 20], "times": [1500.0, 2000.0]}')
    timing = read_timing(tmp_path, Scenario("kind/10", 120, True), 900.0)
    assert timing == Timing("kind/10", 123.4, 100.0, 120, 900.0)
    assert timing.ok is False


@pytest.mark.parametrize(("bar_ns", "ok"), [(None, None), (50, True), (49, False)])
def test_the_bar_is_held_against_the_median(bar_ns: int | None, ok: bool | None) -> None:
    assert Timing("x", 50.0, 1.0, bar_ns).ok is ok


def test_pytest_benchmark_s_seconds_become_nanoseconds_per_message() -> None:
    about = {"family": "body", "rules": 10, "contender": "closures", "messages": 100}
    entry = {"extra_info": about, "stats": {"median": 2e-4, "min": 1e-4}}
    assert rate(entry) == Rate("body", 10, "closures", 2000.0, 1000.0)


def test_ratios_are_between_same_rules() -> None:
    found = [
        Rate("body", 1, "closures", 9.0, 4000.0),
        Rate("body", 10, "closures", 9.0, 9000.0),
        Rate("body", 1, "match_many", 9.0, 200.0),
    ]
    assert ratios(found) == [Ratio("body", 1, "closures", "match_many", 20.0)]
    assert ratios(found)[0].ok
    assert "20.0x  ok" in ratio_table(ratios(found))


def test_counts_of_one_step() -> None:
    assert callgrind.per_step(10_800, 20_800, 800) == 12.5


def test_changes_beyond_the_tolerance_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.json"
    recorded = {"a": 100.0, "b": 100.0, "c": 100.0}
    path.write_text(json.dumps(callgrind.record(recorded)))
    assert callgrind.check(path, {"a": 102.9, "b": 90.0, "d": 1.0}) == 0
    assert capsys.readouterr().out.splitlines() == ["b: 100.0 -> 90.0 (-10.0%)", "d: 1.0, not in the record"]
    assert callgrind.check(path, {"a": 103.5}) == 1
    assert callgrind.check(path, {"a": 100.0}) == 0


def test_counting_says_what_went_wrong() -> None:
    with pytest.raises(callgrind.CountError, match="kind/1"):
        callgrind.count(Path("/nonexistent/program"), "kind/1", 1)


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [(0.5, "0.5 ns"), (60, "60 ns"), (1200, "1.20 us"), (50e6, "50.00 ms"), (2e9, "2.00 s")],
)
def test_durations(nanoseconds: float, shown: str) -> None:
    assert duration(nanoseconds) == shown


def test_a_table_has_verdicts_only_where_there_is_a_bar() -> None:
    table = timing_table([Timing("a/1", 50.0, 40.0, 60, 1234.0), Timing("b", 5e3, 4e3, None)])
    assert table.splitlines() == [
        "scenario  measured     best    bar      instructions",
        "a/1          50 ns    40 ns  60 ns  ok         1,234",
        "b          5.00 us  4.00 us",
    ]
    assert "  best" in timing_table([Timing("a/1", 61.0, 60.0, 60)]).splitlines()[1]
    assert "  not" in timing_table([Timing("a/1", 62.0, 61.0, 60)]).splitlines()[1]


def test_machine_facts() -> None:
    facts = machine()
    assert set(facts) == {"architecture", "cores", "cpu_model", "kernel", "memory_kib"}
    assert facts["cores"]
    assert facts["memory_kib"]
    assert tool_version("no-such-tool-here") == "absent"


def test_numbers_replace_those_between_the_marks() -> None:
    begin, end = write_numbers.BEGIN, write_numbers.END
    assert write_numbers.replaced(f"a\n{begin}old\n{end}b\n", "new\n") == f"a\n{begin}new\n{end}b\n"
    with pytest.raises(ValueError, match="expected the marks"):
        write_numbers.replaced(f"a\n{begin}old\n", "new\n")


def test_recorded_results_can_be_written_into_the_pages() -> None:
    results = sorted(RESULTS.glob("*-router.json"))
    assert results
    for path in results:
        result = json.loads(path.read_text())
        short, long = write_numbers.page(result, path.name), write_numbers.full(result, path.name)
        assert short.count("\n|") > len(write_numbers.SHOWN)
        assert long.count("\n|") > len(result["rust"])


@pytest.mark.parametrize(
    ("ok", "best_ok", "shown"),
    [(None, None, ""), (True, True, "ok"), (False, True, "best"), (False, False, "not")],
)
def test_verdicts(ok: bool | None, best_ok: bool | None, shown: str) -> None:
    assert write_numbers.verdict({"ok": ok, "best_ok": best_ok}) == shown
