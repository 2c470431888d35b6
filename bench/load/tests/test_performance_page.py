"""docs/performance.md and the tables that are written into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import performance
import pytest
from comparison import page

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {
    "cores": 2,
    "cpu_model": "CPU",
    "architecture": "x86_64",
    "memory_kib": 8 * 1024 * 1024,
    "kernel": "6.1",
}


def row(scenario: str, broker: str, **numbers: Any) -> dict[str, Any]:
    """A row of the summary."""
    return {"scenario": scenario, "broker": broker, "repeats": 3, **numbers}


def load(scenario: str, broker: str, rate: float) -> dict[str, Any]:
    """A row of messages."""
    return row(scenario, broker, delivered_per_s=rate, cpu_us_per_delivered=1.5)


def hub_result() -> dict[str, Any]:
    """A result of compare.py, cut down to what the page reads."""
    full, paced = "plain 1->1 window 20", "plain 1000 clients 5000/s"
    latencies = {"latency_p50_us": 64.0, "latency_p99_us": 180.0, "latency_p999_us": 900.0}
    bar = {"broker": "edgehub none", "limit": "at least 8 x peer", "median": 9.25, "verdict": "ok"}
    return {
        "started": "2026-01-02T00:00:00+00:00",
        "machine": MACHINE,
        "load_average_1min": 0.1,
        "load_average_1min_after": 1.0,
        "peers": {"mosquitto": "mosquitto version 2", "amqtt": "amqtt 0.1"},
        "peers_skipped": {"rumqttd": "run: pip"},
        "summary": [
            load(full, "mosquitto", 10_000),
            load(full, "amqtt", 100),
            load(full, "edgehub none", 90_000),
            row(paced, "edgehub none", **latencies),
            row("plain 9000 idle", "edgehub none", bytes_per_connection=1400.4),
            row("tls connects", "edgehub none", connected_per_s=900.0, cpu_us_per_connection=300.0),
            row("tls connects", "mosquitto", repeats=0),
        ],
        "bars": [{"scenario": full, **bar}],
    }


def soak_result() -> dict[str, Any]:
    """A result of soak.py, cut down to what the page reads."""
    return {
        "started": "2026-01-03T00:00:00+00:00",
        "machine": MACHINE,
        "load_average_1min": 0.1,
        "settings": {"cut_for_s": 5.0, "warm_up_s": 120.0},
        "account": {"published": 3_000_000, "arrived": 3_000_000, "duplicates": 7, "lost": 0},
        "load": {"published_per_s": 5000.0, "seconds": 600.0},
        "cuts": 10,
        "memory_mb": {"first": 60.1, "last": 60.2, "peak": 61.0},
        "slope_mb_per_h": {"value": 0.42, "error": 0.05},
        "catch_up_s": 1.5,
        "cpu": {"hub": 0.2},
        "bars": [
            {"measure": "memory slope, MB/h", "limit": "below 1", "verdict": "ok"},
            {"measure": "messages lost", "limit": "0", "verdict": "ok"},
        ],
    }


def test_the_page_is_of_the_newest_results() -> None:
    assert performance.main(["--check"]) == 0, "run bench/performance.py"


class TestHub:
    text = page.hub_tables("a-hub.json", hub_result())

    def test_each_kind_of_row_shows_its_numbers(self) -> None:
        for line in (
            "| `plain 1->1 window 20` | 10,000 (1.5) | 90,000 (1.5) |  | 9.25 (at least 8 x peer): ok |  |",
            "| `plain 1000 clients 5000/s` |  | 64 / 180 / 900 us |  |  |  |",
            "| `plain 9000 idle` |  | 1,400 B |  |  |  |",
            "| `tls connects` | no result | 900 (300) |  |  |  |",
        ):
            assert line in self.text

    def test_other_peers_are_in_a_table_of_their_own(self) -> None:
        assert "| `plain 1->1 window 20` | 10,000 (1.5) | 100 (1.5) | 90,000 (1.5) |  |\n" in self.text
        assert "Versions: mosquitto version 2, amqtt 0.1." in self.text
        assert "Left out: rumqttd (run: pip)." in self.text

    def test_machine_and_file_are_named(self) -> None:
        assert "Measured 2026-01-02 on 2 cores of CPU (x86_64, 8 GiB, Linux 6.1)" in self.text
        assert "load average 0.1 and 1 before and after" in self.text
        assert "bench/results/a-hub.json" in self.text


def test_the_soak_has_its_bars() -> None:
    text = page.soak_table("a-soak.json", soak_result())
    assert "| slope of it | 0.42 MB/h (standard error 0.05) | below 1: ok |" in text
    assert "3,000,000 arrived, 7 twice, 0 lost | 0: ok |" in text


class TestFiles:
    def test_the_newest_is_the_one_that_began_last(self, tmp_path: Path) -> None:
        for name, started in (("b", "2026-01-01"), ("a", "2026-05-01"), ("c", "2025-01-01")):
            (tmp_path / f"{name}-soak.json").write_text(json.dumps({"started": started}))
        found = page.newest(tmp_path, "-soak.json")
        assert found is not None
        assert found[0] == "a-soak.json"

    def test_without_results_the_page_says_so(self, tmp_path: Path) -> None:
        assert page.numbers(tmp_path) == (
            "No result of `make bench-hub` is recorded.\n\nNo result of `make soak` is recorded.\n"
        )

    def test_numbers_go_between_the_marks(self) -> None:
        text = f"a\n{page.BEGIN}old\n{page.END}b\n"
        assert page.replaced(text, "new\n") == f"a\n{page.BEGIN}new\n{page.END}b\n"
        with pytest.raises(ValueError, match="expected the marks"):
            page.replaced("no marks", "new")
