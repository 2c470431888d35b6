"""memory_settings.py and its parts, without a hub."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import memory_settings
import pytest
from comparison import resident
from comparison.processes import Endpoint, RunningBroker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Time:
    """Sleeps are added up; memory follows a script."""

    def __init__(self, *kib: int) -> None:
        self.now_s = 0.0
        self._kib = list(kib)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds

    def read(self, pid: int) -> int:
        assert pid == 7
        return self._kib.pop(0)

    def watch(self) -> resident.Watch:
        return resident.Watch(7, sleep=self.sleep, read=self.read)


def ends_after(rounds: int) -> Callable[[], bool]:
    """False so many times, then true."""
    left = iter([False] * rounds)
    return lambda: next(left, True)


class TestWatch:
    def test_the_memory_of_this_process(self) -> None:
        assert resident.resident_kib(os.getpid()) > 1000

    def test_no_such_process(self) -> None:
        with pytest.raises(OSError, match="No such file"):
            resident.resident_kib(2**30)

    def test_median_and_peak_under_load(self) -> None:
        time = Time(10, 90, 20)
        during = time.watch().while_running(ends_after(3), limit_s=60)
        assert during == {"median_kib": 20, "peak_kib": 90}
        assert time.now_s == pytest.approx(3 * resident.SAMPLE_S)

    def test_a_load_that_ends_at_once_has_one_sample(self) -> None:
        assert Time(10).watch().while_running(ends_after(0), limit_s=60) == {"median_kib": 10, "peak_kib": 10}

    def test_a_load_that_never_ends(self) -> None:
        with pytest.raises(TimeoutError, match="within 1 s"):
            Time(*[1] * 10).watch().while_running(lambda: False, limit_s=1)

    def test_times_after_the_load(self) -> None:
        time = Time(30, 20, 10)
        rows = time.watch().afterwards([2.0, 5.0, 30.0])
        assert [(row["after_s"], row["kib"]) for row in rows] == [(2.0, 30), (5.0, 20), (30.0, 10)]
        assert time.now_s == 30


def run(pooled: bool, after_kib: int, **more: Any) -> dict[str, Any]:
    """Figures of one run."""
    return {
        "load": "l",
        "optimize_for_performance": True,
        "use_pooled_buffers": pooled,
        "before_kib": 1024,
        "during": {"median_kib": 2048, "peak_kib": 4096},
        "after": [{"after_s": 2, "kib": 4000}, {"after_s": 40, "kib": after_kib}],
        "result": {
            "delivered_per_s": 1000.0,
            "broker": {"cpu_us_per_delivered": 1.5},
            "problems": [],
        },
        **more,
    }


class TestSummary:
    def test_medians_of_each_pair_of_settings(self) -> None:
        rows = resident.summarise([run(True, 1024), run(False, 5), run(True, 1536), run(True, 9999)])
        assert [(row["use_pooled_buffers"], row["repeats"], row["after_kib"]) for row in rows] == [
            (True, 3, 1536),
            (False, 1, 5),
        ]
        line = resident.table(rows).splitlines()[2]
        assert line == "| l | true | true | 1,000 | 1.50 | 1.0 | 2.0 | 4.0 | 1.5 |"

    def test_failures_and_problems_are_shown(self) -> None:
        failed = {
            "load": "l",
            "optimize_for_performance": True,
            "use_pooled_buffers": True,
            "error": "refused",
        }
        lost = {**run(True, 1)["result"], "problems": ["3 messages lost"]}
        text = resident.table(resident.summarise([failed, run(True, 1, result=lost)]))
        assert "FAILED l: 1 runs" in text
        assert "PROBLEM l: 3 messages lost" in text
        assert "| - | - |" in resident.table(resident.summarise([failed]))


class TestCommand:
    def test_all_four_combinations_are_measured(self) -> None:
        environments = [settings.environment for settings in memory_settings.COMBINATIONS]
        pairs = {(e["OptimizeForPerformance"], e["mqttSettings__UsePooledBuffers"]) for e in environments}
        assert len(pairs) == len(environments) == 4
        assert ("false", "true") in pairs

    def test_the_generator_gets_the_load(self, tmp_path: Path) -> None:
        broker = RunningBroker(5, tmp_path / "c.jsonl", {"plain": Endpoint("127.0.0.1", 1883, None)})
        options = memory_settings.parser().parse_args(["--generator", "gen", "--generator-core", "3"])
        load = memory_settings.Load(64, 10, 2)
        command = memory_settings.generator_command(options, load, broker, tmp_path / "r.json")
        assert command[:5] == ["taskset", "-c", "3", "gen", "run"]
        assert command[command.index("--publishers") + 1] == "10"
        assert command[command.index("--broker-pid") + 1] == "5"

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--repeats", "0"], "at least 1"),
            (["--only", "nothing like it"], "no load"),
            (["--generator", "/none"], "cargo build"),
        ],
    )
    def test_wrong_options(self, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            memory_settings.checked_options(arguments)
        assert told in capsys.readouterr().err
