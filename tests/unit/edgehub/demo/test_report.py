from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from edgehub.demo.latency import LatencySummary, summarize
from edgehub.demo.ledger import Evidence, build_ledger
from edgehub.demo.report import Outcome, ledger_lines, print_report, verdict


def outcome(evidence: Evidence) -> Outcome:
    return Outcome(
        ledger=build_ledger(evidence),
        steady=summarize([10.0, 12.0]),
        overall=summarize([10.0, 12.0, 6000.0]),
        unrouted=1,
        waiting=0,
        outage_s=6.0,
        peak_backlog=240,
        drained_s=1.25,
    )


def good() -> Evidence:
    readings = ["a-000001", "a-000002"]
    outputs = [*readings, "summary-000001"]
    return Evidence(
        begun=readings,
        acked=readings,
        received=readings,
        output_begun=outputs,
        output_acked=outputs,
        alerts={"a-000002"},
        delivered=["a-000002", "summary-000001"],
    )


def printed(found: Outcome) -> str:
    out = io.StringIO()
    print_report(Console(file=out, width=120, color_system=None), found)
    return out.getvalue()


def test_a_good_run() -> None:
    found = outcome(good())
    text = printed(found)
    assert found.exit_code == 0
    assert "OK: 2 messages delivered, none lost, none reordered." in text
    assert "240 messages waited at most; drained 1.2 s after the link was back" in text
    assert "never acknowledged" not in text
    assert text.isascii()


def test_a_loss_is_told_with_its_place() -> None:
    found = outcome(replace(good(), delivered=["summary-000001"]))
    assert found.exit_code == 1
    assert ("lost", "1", "1 on the way to iothub") in ledger_lines(found)
    assert ("lost", "1", "1 on the way to iothub; 1 still wait in the hub") in ledger_lines(
        replace(found, waiting=1)
    )
    assert verdict(found) == "FAILED: 1 lost, 0 reordered, 0 unexpected."


def test_a_run_in_which_nothing_moved_fails() -> None:
    found = outcome(Evidence())
    assert found.exit_code == 1
    assert verdict(found) == "FAILED: no message made it through."


def test_unconfirmed_and_unexpected_messages_are_shown() -> None:
    evidence = good()
    found = outcome(
        replace(evidence, begun=[*evidence.begun, "a-000003"], delivered=[*evidence.delivered, "a-000001"])
    )
    names = {name: number for name, number, _ in ledger_lines(found)}
    assert names["never acknowledged"] == "1"
    assert names["unexpected"] == "1"
    assert found.exit_code == 1


def test_the_machine_form_is_json() -> None:
    text = json.dumps(outcome(good()).as_dict())
    found = json.loads(text)
    assert found["ok"] is True
    assert found["hub_counted_unrouted"] == 1
    assert found["latency_ms"]["all"]["max_ms"] == 6000.0
    assert found["outage"] == {"seconds": 6.0, "peak_backlog": 240, "drained_after_s": 1.25}


def test_a_run_without_outage_and_arrivals_has_no_latency() -> None:
    found = replace(outcome(Evidence()), steady=LatencySummary(0), overall=LatencySummary(0), outage_s=0.0)
    assert "link cut" not in printed(found)
    assert found.as_dict()["latency_ms"]["all"]["p50_ms"] is None
