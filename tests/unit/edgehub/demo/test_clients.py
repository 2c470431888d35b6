"""The parts of the device and of the filter that need no SDK."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.device import due_s, reading_body
from edgehub.demo.filter_module import Limits, Received, is_alert, read_message
from edgehub.demo.journal import JournalReader, JournalWriter
from edgehub.demo.readings import Reading
from edgehub.demo.sending import WindowedSender
from edgehub.demo.summary import Summary

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_device_sends_the_filter_reads() -> None:
    body = reading_body("b01summer", Reading(datetime(2016, 7, 16, 13, 30, tzinfo=UTC), 18.423))
    assert json.loads(body)["time"] == "2016-07-16T13:30:00Z"
    assert read_message("b01summer-000001", body) == Received("b01summer-000001", body, "b01summer", 18.423)


@pytest.mark.parametrize(
    "body", ["", "x", "[]", "{}", '{"sensor":"s"}', '{"sensor":"s","temperatureC":"warm"}']
)
def test_the_filter_ignores_what_is_no_reading(body: str) -> None:
    assert read_message("x", body) is None


@pytest.mark.parametrize(
    ("temperature_c", "expected"), [(3.9, True), (4.0, True), (4.1, False), (19.9, False), (20.0, True)]
)
def test_the_limits_themselves_are_alerts(temperature_c: float, expected: bool) -> None:
    assert is_alert(Received("x", "", "b01summer", temperature_c), Limits(4.0, 20.0)) is expected


@given(st.floats(0.1, 500), st.integers(1, 10_000))
def test_messages_are_due_without_drift(rate: float, number: int) -> None:
    assert due_s(100.0, 1, rate) == 100.0
    assert due_s(100.0, number + 1, rate) - due_s(100.0, number, rate) == pytest.approx(1 / rate, rel=1e-3)


def test_a_summary_holds_what_was_added_once() -> None:
    summary = Summary()
    assert summary.take() is None
    for station, value in (("b", 16.0), ("a", 20.0), ("b", 17.0)):
        summary.add(station, value)
    assert json.loads(summary.take() or "") == {
        "a": {"readings": 1, "meanC": 20.0, "minC": 20.0, "maxC": 20.0},
        "b": {"readings": 2, "meanC": 16.5, "minC": 16.0, "maxC": 17.0},
    }
    assert summary.take() is None


async def test_a_sender_begins_in_order_and_keeps_to_its_window(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    waiting: dict[str, asyncio.Future[None]] = {}

    async def call(text: str) -> None:
        waiting[text] = asyncio.get_running_loop().create_future()
        await waiting[text]

    with JournalWriter(path) as journal:
        sender = WindowedSender(journal, lambda: 1.5, window=2)
        await sender.send("a-1", lambda: call("a-1"))
        await sender.send("a-2", lambda: call("a-2"), alert=True)
        third = asyncio.create_task(sender.send("a-3", lambda: call("a-3")))
        await asyncio.sleep(0)
        assert list(waiting) == ["a-1", "a-2"]
        waiting["a-2"].set_result(None)
        await third
        await asyncio.sleep(0)
        assert list(waiting) == ["a-1", "a-2", "a-3"]
        waiting["a-1"].set_exception(OSError("gone"))
        waiting["a-3"].set_result(None)
        await sender.flush()
    entries = JournalReader(path).read_new()
    assert [entry["begun"] for entry in entries if "begun" in entry] == ["a-1", "a-2", "a-3"]
    assert [entry["acked"] for entry in entries if "acked" in entry] == ["a-2", "a-3"]
    assert [entry for entry in entries if "failed" in entry] == [{"failed": "a-1", "error": "gone"}]
    assert {"begun": "a-2", "at_ms": 1500.0, "alert": True} in entries
