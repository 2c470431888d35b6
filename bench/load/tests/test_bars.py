"""What our hub is held against."""

from __future__ import annotations

from typing import Any

import pytest
from comparison.bars import (
    CONNECTS_PER_S,
    CPU_PER_MESSAGE,
    Bar,
    Judged,
    all_delivered,
    bar_table,
    bytes_per_connection,
    judge,
    latency_like_peer,
    per_cpu_second,
    worst,
)


def run(name: str, **numbers: Any) -> dict[str, Any]:
    """A result with these numbers."""
    return {"scenario_name": "s", "broker_name": name, "problems": [], **numbers}


def per_cpu(broker: str, *rates: float) -> list[dict[str, Any]]:
    """Runs that delivered so much per second of CPU time."""
    return [
        run(broker, broker={"delivered_per_cpu_s": rate, "cpu_us_per_delivered": 1e6 / rate})
        for rate in rates
    ]


class TestJudge:
    def test_medians_and_best_runs_are_held_against_those_of_the_peer(self) -> None:
        runs = per_cpu("peer", 10, 20, 30) + per_cpu("edgehub none", 100, 170, 300)
        (one,) = judge(runs, "s", per_cpu_second(none=8, group=4), ["edgehub none"], "peer")
        assert (one.median, one.best, one.verdict) == (8.5, 10.0, "ok")

    def test_the_best_run_alone_is_told(self) -> None:
        runs = per_cpu("peer", 10, 10, 10) + per_cpu("edgehub none", 70, 70, 90)
        (one,) = judge(runs, "s", per_cpu_second(none=8, group=4), ["edgehub none"], "peer")
        assert one.verdict == "best"

    def test_a_lower_number_may_be_what_is_wanted(self) -> None:
        runs = per_cpu("peer", 10) + per_cpu("edgehub none", 10)
        (one,) = judge(runs, "s", CPU_PER_MESSAGE, ["edgehub none"], "peer")
        assert (one.median, one.verdict) == (1.0, "not")
        held = [run("edgehub none", bytes_per_connection=size) for size in (1536.0, 1600.0, 1500.0)]
        (one,) = judge(held, "s", bytes_per_connection(1.5), ["edgehub none"], "peer")
        assert (one.median, one.best, one.verdict) == (1536.0, 1500.0, "ok")

    def test_a_bar_is_for_one_policy_or_for_all(self) -> None:
        names = ["edgehub none", "edgehub group"]
        runs = [run(name, delivered=99, acked=100, connected_per_s=9000) for name in names]
        assert len(judge(runs, "s", all_delivered(), names, "peer")) == 2
        assert [one.broker for one in judge(runs, "s", latency_like_peer(), names, "peer")] == names[:1] * 2
        verdicts = [one.verdict for one in judge(runs, "s", CONNECTS_PER_S, names, "peer")]
        assert verdicts == ["not", "not"]

    def test_without_the_peer_or_a_result_there_is_no_verdict(self) -> None:
        runs = [*per_cpu("edgehub none", 5), run("edgehub group", error="refused")]
        judged = judge(runs, "s", per_cpu_second(none=8, group=4), ["edgehub none", "edgehub group"], "peer")
        assert [one.verdict for one in judged] == ["-", "-"]

    def test_what_was_not_run_has_no_bar(self) -> None:
        assert judge(per_cpu("peer", 1), "s", CPU_PER_MESSAGE, ["edgehub none"], "peer") == []


class TestShown:
    @pytest.mark.parametrize(
        ("verdicts", "expected"),
        [([], ""), (["ok", "best"], "best"), (["ok", "not", "-"], "not"), (["ok", "-"], "-")],
    )
    def test_the_worst_verdict_of_a_row(self, verdicts: list[str], expected: str) -> None:
        assert worst(verdicts) == expected

    def test_the_table_has_limit_and_verdict(self) -> None:
        bar = Bar("delivered", (("x",),), "at least", 8, relative=True)
        text = bar_table([Judged("s", "edgehub none", bar, 9.1234, None).to_json()])
        assert "at least 8 x peer" in text
        assert "9.123" in text
