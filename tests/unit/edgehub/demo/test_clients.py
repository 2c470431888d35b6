"""The parts of the device and of the filter that need no SDK."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.device import due_s, reading_body
from edgehub.demo.filter_module import Received, is_alert, read_message
from edgehub.demo.journal import JournalReader, JournalWriter
from edgehub.demo.readings import Reading
from edgehub.demo.sending import WindowedSender
from edgehub.demo.summary import Summary

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_device_sends_the_filter_reads() -> None:
    body = reading_body("seattle", Reading(datetime(2010, 7, 1, 13), 64.2))
    assert json.loads(body)["hour"] == "2010-07-01T13:00"
    assert read_message("seattle-000001", body) == Received("seattle-000001", body, "seattle", 64.2)


@pytest.mark.parametrize(
    "body", ["", "x", "[]", "{}", '{"station":"s"}', '{"station":"s","temperatureF":"warm"}']
)
def test_the_filter_ignores_what_is_no_reading(body: str) -> None:
    assert read_message("x", body) is None


@pytest.mark.parametrize(("temperature_f", "expected"), [(64.9, False), (65.0, True), (80.0, True)])
def test_the_threshold_itself_is_an_alert(temperature_f: float, expected: bool) -> None:
    assert is_alert(Received("x", "", "seattle", temperature_f), 65.0) is expected


@given(st.floats(0.1, 500), st.integers(1, 10_000))
def test_messages_are_due_without_drift(rate: float, number: int) -> None:
    assert due_s(100.0, 1, rate) == 100.0
    assert due_s(100.0, number + 1, rate) - due_s(100.0, number, rate) == pytest.approx(1 / rate, rel=1e-3)


def test_a_summary_holds_what_was_added_once() -> None:
    summary = Summary()
    assert summary.take() is None
    for station, value in (("b", 60.0), ("a", 70.0), ("b", 61.0)):
        summary.add(station, value)
    assert json.loads(summary.take() or "") == {
        "a": {"readings": 1, "meanF": 70.0, "maxF": 70.0},
        "b": {"readings": 2, "meanF": 60.5, "maxF": 61.0},
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
