from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgehub.demo.bookkeeping import Books
from edgehub.demo.iothub_api import ApiError, Identity, ServicePolicy, TelemetryEvent
from edgehub.demo.journal import JournalWriter
from edgehub.demo.ledger import build_ledger

if TYPE_CHECKING:
    from pathlib import Path


def event(text: str, enqueued_ms: float = 0.0, sequence: int = 1) -> TelemetryEvent:
    return TelemetryEvent(sequence, enqueued_ms, "gateway", "filter", text, {}, None)


def test_journals_become_a_ledger(tmp_path: Path) -> None:
    device, module = tmp_path / "b01summer.jsonl", tmp_path / "filter.jsonl"
    books = Books([device], module)
    books.poll()
    assert books.connected == 0
    with JournalWriter(device) as writer:
        writer.write(connected=True)
        for number in (1, 2):
            writer.write(begun=f"b01summer-00000{number}", at_ms=1000.0 * number)
            writer.write(acked=f"b01summer-00000{number}", at_ms=1000.0 * number + 4)
    books.poll()
    assert not books.filter_is_done
    with JournalWriter(module) as writer:
        writer.write(connected=True)
        for number in (1, 2):
            writer.write(received=f"b01summer-00000{number}")
            writer.write(begun=f"b01summer-00000{number}", at_ms=0.0, alert=number == 2)
            writer.write(acked=f"b01summer-00000{number}", at_ms=0.0)
        writer.write(begun="summary-000001", at_ms=0.0)
        writer.write(acked="summary-000001", at_ms=0.0)
        writer.write(ended=True)
    books.poll()
    assert (books.connected, books.filter_is_done, books.missing) == (2, True, 2)
    assert books.note_arrival(event("summary-000001")) is None
    assert books.note_arrival(event("b01summer-000002", 2025.0)) == 25.0
    assert books.note_arrival(event("b01summer-000002", 9000.0)) is None, "only the first arrival counts"
    assert books.missing == 0
    assert books.latencies() == [(2000.0, 25.0)]
    ledger = build_ledger(books.evidence)
    assert ledger.ok
    assert ledger.duplicates == 1


def test_an_arrival_before_its_journal_was_read_still_has_a_latency(tmp_path: Path) -> None:
    device = tmp_path / "b01summer.jsonl"
    books = Books([device], tmp_path / "filter.jsonl")
    with JournalWriter(device) as writer:
        writer.write(begun="b01summer-000001", at_ms=100.0)
    assert books.note_arrival(event("b01summer-000001", 130.0)) == 30.0


def test_a_failed_send_is_not_promised(tmp_path: Path) -> None:
    books = Books([], tmp_path / "filter.jsonl")
    books.note_device({"begun": "b01summer-000001", "at_ms": 0.0})
    books.note_device({"failed": "b01summer-000001", "error": "x"})
    ledger = build_ledger(books.evidence)
    assert (ledger.sent, ledger.to_filter.unconfirmed, ledger.lost) == (0, 1, 0)


def test_a_telemetry_event_is_read() -> None:
    view = {
        "sequenceNumber": 7,
        "enqueuedTime": "2026-01-02T03:04:05.678Z",
        "deviceId": "gateway",
        "moduleId": "filter",
        "systemProperties": {"message-id": "b01summer-000001", "content-type": "application/json"},
        "properties": {"temperatureAlert": "true"},
        "body": {"temperatureC": 20.1},
    }
    found = TelemetryEvent.parse(view)
    assert (found.sequence, found.message_id, found.module_id) == (7, "b01summer-000001", "filter")
    assert found.enqueued_ms == pytest.approx(1767323045678.0)
    bare = TelemetryEvent.parse(
        {"sequenceNumber": 1, "enqueuedTime": "2026-01-02T03:04:05.678Z", "deviceId": "d"}
    )
    assert (bare.message_id, bare.module_id) == ("", None)


def test_connection_strings() -> None:
    policy = ServicePolicy.parse(
        "HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=a2V5a2V5a2V5a2V5a2U=\n"
    )
    assert (policy.host, policy.name, policy.key) == ("h", "iothubowner", "a2V5a2V5a2V5a2V5a2U=")
    assert policy.key not in repr(policy)
    assert policy.token(0.0).startswith("SharedAccessSignature sr=h&")
    with pytest.raises(ApiError, match="no SharedAccessKeyName"):
        ServicePolicy.parse("HostName=h;SharedAccessKey=a2V5")
    module = Identity("d", "m", "a2V5")
    assert module.connection_string("h", "g") == (
        "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=a2V5;GatewayHostName=g"
    )
    assert Identity("d", None, "k").connection_string("h") == "HostName=h;DeviceId=d;SharedAccessKey=k"
    assert "a2V5" not in repr(module)
