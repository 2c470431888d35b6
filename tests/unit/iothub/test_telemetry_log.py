"""The telemetry log: commit before acknowledgement, positions, retention, and what readers see."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_batch import BATCH_FORMAT, join_batch
from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.amqp_types import Int, Timestamp, Ulong
from iothub.errors import ErrorCode, HubError
from iothub.telemetry.event import Chunk, Origin, count_messages, event_view, events_of
from iothub.telemetry.log import Append, LogError, TelemetryLog
from unit.iothub.hub_rig import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ORIGIN = Origin("d1", None, "123", "sas")
GIB = 2**30


class LogRig:
    """A log whose commits are reported to the test."""

    def __init__(self, path: Path, *, bytes_max: int = GIB, age_secs_max: int = 10**6) -> None:
        self.clock = Clock()
        self.results: list[tuple[int, Exception | None]] = []
        self._changed = threading.Condition()
        self.log = TelemetryLog(
            path, bytes_max=bytes_max, age_secs_max=age_secs_max, clock=self.clock, on_batch=self._on_batch
        )

    def _on_batch(self, items: list[Append], failure: Exception | None) -> None:
        with self._changed:
            self.results.append((sum(item.count for item in items), failure))
            self._changed.notify_all()

    def append(self, *bodies: bytes, origin: Origin = ORIGIN) -> None:
        """Appends one transfer and waits for its commit."""
        messages = [encode_message(data=body) for body in bodies]
        payload, message_format = (
            (messages[0], 0) if len(messages) == 1 else (join_batch(messages), BATCH_FORMAT)
        )
        with self._changed:
            before = len(self.results)
            self.log.append(
                Append(
                    origin, message_format, len(bodies), payload, int(self.clock.now * 1000), lambda _: None
                )
            )
            assert self._changed.wait_for(lambda: len(self.results) > before, timeout=20)

    def read(self, sequence: int, chunks_max: int = 1000, bytes_max: int = GIB) -> list[Chunk]:
        return self.log.reader.submit(self.log.read, sequence, chunks_max, bytes_max).result()

    def bodies(self, sequence: int = 0) -> list[tuple[int, bytes]]:
        found = (event for chunk in self.read(sequence) for event in events_of(chunk))
        return [(event.sequence, event.body) for event in found if event.sequence >= sequence]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    rigs: list[LogRig] = []

    def build(**options: Any) -> LogRig:
        rigs.append(LogRig(tmp_path / "telemetry.db", **options))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.log.close()


def test_row_24_reported_only_when_another_reader_can_see_it(
    make: Callable[..., LogRig], tmp_path: Path
) -> None:
    rig = make()
    rig.append(b"one")
    assert rig.results == [(1, None)]
    with sqlite3.connect(tmp_path / "telemetry.db") as other:
        assert other.execute("SELECT COUNT(*) FROM chunks").fetchone() == (1,)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert rig.log._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_positions_count_events_not_transfers(make: Callable[..., LogRig]) -> None:
    rig = make()
    rig.append(b"a")
    rig.append(b"b", b"c", b"d")
    rig.append(b"e")
    everything = [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d"), (5, b"e")]
    assert rig.log.next_sequence == 6
    for start in range(8):
        assert rig.bodies(start) == everything[max(0, start - 1) :]


def test_reading_is_bounded(make: Callable[..., LogRig]) -> None:
    rig = make()
    for number in range(10):
        rig.append(b"x" * 100 + b"%d" % number)
    assert len(rig.read(0, chunks_max=3)) == 3
    assert len(rig.read(0, bytes_max=250)) == 3
    assert len(rig.read(0, bytes_max=1)) == 1


def test_waiting_appends_share_a_commit(make: Callable[..., LogRig]) -> None:
    """The next batch is what came during the last commit: the commit is held up while more is appended."""
    rig = make()
    blocked, going = threading.Event(), threading.Event()
    commit = rig.log._transaction

    def slow(statement: str, rows: list[Any]) -> None:
        going.set()
        assert blocked.wait(20)
        commit(statement, rows)

    rig.log._transaction = slow  # type: ignore[method-assign]
    payload = encode_message(data=b"x")
    for number in range(50):
        rig.log.append(Append(ORIGIN, 0, 1, payload, 0, lambda _: None))
        if number == 0:
            assert going.wait(20)
    assert rig.log.pending_bytes == 50 * len(payload)
    blocked.set()
    rig.log.close()
    assert [count for count, _ in rig.results] == [1, 49]
    assert rig.log.pending_bytes == 0


def test_a_failed_commit_is_told_and_the_next_one_works(make: Callable[..., LogRig]) -> None:
    rig = make()
    commit = rig.log._transaction
    failures = [sqlite3.OperationalError("database or disk is full")]

    def failing(statement: str, rows: list[Any]) -> None:
        if failures:
            raise failures.pop()
        commit(statement, rows)

    rig.log._transaction = failing  # type: ignore[method-assign]
    rig.append(b"lost")
    rig.append(b"kept")
    assert [type(failure) for _, failure in rig.results] == [sqlite3.OperationalError, type(None)]
    assert rig.bodies() == [(1, b"kept")]


def test_the_log_survives_a_restart(make: Callable[..., LogRig]) -> None:
    rig = make()
    rig.append(b"a", b"b")
    rig.log.close()
    again = make()
    again.append(b"c")
    assert again.bodies() == [(1, b"a"), (2, b"b"), (3, b"c")]


def test_the_oldest_go_when_the_log_is_too_large(make: Callable[..., LogRig]) -> None:
    rig = make(bytes_max=200_000)
    for number in range(40):
        rig.append(b"%02d" % number + b"x" * 10_000)
    rig.log.close()  # deletion follows the report of a commit: wait until the writer is done
    kept = make(bytes_max=200_000).bodies()
    assert kept[-1][0] == 40
    assert 10 <= len(kept) <= 20
    assert rig.log.dropped == 40 - len(kept)
    assert [sequence for sequence, _ in kept] == list(range(41 - len(kept), 41))


def test_the_oldest_go_by_age_and_numbers_go_on(make: Callable[..., LogRig]) -> None:
    rig = make(age_secs_max=1000)
    rig.append(b"old")
    rig.clock.now += 2000
    rig.append(b"new")
    rig.clock.now += 70
    rig.append(b"newer")
    rig.log.close()
    again = make(age_secs_max=1000)
    assert again.bodies() == [(2, b"new"), (3, b"newer")]
    again.clock.now += 10_000
    again.append(b"last")
    again.log.close()
    again = make()
    again.append(b"after")
    assert again.bodies()[-1][0] == 5


def test_newer_or_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    rig = LogRig(path)
    rig.log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 9 WHERE name = 'format'")
    connection.close()
    with pytest.raises(LogError, match="format 9"):
        LogRig(path)
    path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(LogError, match="not a database"):
        LogRig(path)


# ---- transfers and events

SINGLE = encode_message(data=b"x")


@pytest.mark.parametrize(
    ("payload", "message_format", "count"),
    [
        (SINGLE, 0, 1),
        (join_batch([SINGLE] * 7), BATCH_FORMAT, 7),
        (encode_message(data=b"x" * 262_144), 0, 1),
    ],
)
def test_good_transfers(payload: bytes, message_format: int, count: int) -> None:
    assert count_messages(payload, message_format, 262_144) == count


@pytest.mark.parametrize(
    ("payload", "message_format", "code"),
    [
        (b"", 0, ErrorCode.IotHubFormatError),
        (b"junk", 0, ErrorCode.IotHubFormatError),
        (SINGLE, 7, ErrorCode.IotHubFormatError),
        (b"", BATCH_FORMAT, ErrorCode.IotHubFormatError),
        (join_batch([SINGLE, b"junk"]), BATCH_FORMAT, ErrorCode.IotHubFormatError),
        (join_batch([SINGLE, b""]), BATCH_FORMAT, ErrorCode.IotHubFormatError),
        (encode_message(value="text"), 0, ErrorCode.IotHubFormatError),
        (encode_message(data=b"x" * 262_145), 0, ErrorCode.MessageTooLarge),
        (join_batch([SINGLE, encode_message(data=b"x" * 262_145)]), BATCH_FORMAT, ErrorCode.MessageTooLarge),
    ],
)
def test_rows_26_and_bad_transfers(payload: bytes, message_format: int, code: ErrorCode) -> None:
    with pytest.raises(HubError) as caught:
        count_messages(payload, message_format, 262_144)
    assert caught.value.code is code


@given(st.binary(max_size=100), st.sampled_from([0, BATCH_FORMAT]))
def test_what_is_accepted_can_always_be_read(payload: bytes, message_format: int) -> None:
    try:
        count = count_messages(payload, message_format, 262_144)
    except HubError:
        return
    chunk = Chunk(1, count, 0, ORIGIN, message_format, payload)
    views = [event_view(event) for event in events_of(chunk)]
    assert [view["sequenceNumber"] for view in views] == list(range(1, count + 1))


def view_of(payload: bytes, origin: Origin = ORIGIN) -> dict[str, Any]:
    (event,) = events_of(Chunk(5, 1, 1_767_225_600_000, origin, 0, payload))
    return event_view(event)


def test_row_27_and_the_whole_view() -> None:
    """Properties that are not text are left out, the message is kept; who sent it is the link's identity."""
    payload = encode_message(
        annotations={
            "iothub-interface-id": "urn:x",
            "x-opt-other": 1,
            "iothub-connection-device-id": "forged",
        },
        properties={
            "message_id": UUID(int=1),
            "correlation_id": Ulong(7),
            "user_id": b"me",
            "content_type": "application/json; charset=utf-8",
            "creation_time": Timestamp(1_767_225_600_123),
        },
        application_properties={"text": "value", "number": Int(3)},
        data=b'{"a": 1}',
    )
    assert view_of(payload, Origin("d1", "m1", "99", "sas")) == {
        "sequenceNumber": 5,
        "enqueuedTime": "2026-01-01T00:00:00.000Z",
        "deviceId": "d1",
        "moduleId": "m1",
        "systemProperties": {
            "message-id": "00000000-0000-0000-0000-000000000001",
            "correlation-id": 7,
            "user-id": "me",
            "content-type": "application/json; charset=utf-8",
            "creation-time": "2026-01-01T00:00:00.123Z",
            "iothub-interface-id": "urn:x",
            "iothub-connection-auth-generation-id": "99",
            "iothub-connection-auth-type": "sas",
        },
        "properties": {"text": "value"},
        "body": {"a": 1},
    }


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"plain", None, {"body": "plain"}),
        (b"{broken", "application/json", {"body": "{broken"}),
        (b"NaN", "application/json", {"body": "NaN"}),
        (b"[1]", "application/json", {"body": [1]}),
        (b"[1]", "text/plain", {"body": "[1]"}),
        (b"\xff\x00", None, {"body": "/wA=", "bodyEncoding": "base64"}),
        (b"", None, {"body": ""}),
    ],
)
def test_bodies(body: bytes, content_type: str | None, shown: dict[str, Any]) -> None:
    view = view_of(encode_message(properties={"content_type": content_type}, data=body))
    assert {key: view[key] for key in view if key.startswith("body")} == shown


def test_unreadable_text_is_shown_not_lost() -> None:
    raw = encode_message(application_properties={"k": "vv"}, data=b"x").replace(b"vv", b"\xff\xff")
    assert count_messages(raw, 0, 1000) == 1
    view = view_of(raw)
    assert "utf-8" in view["error"]
    assert view["bodyEncoding"] == "base64"


def test_times_outside_the_calendar() -> None:
    view = view_of(encode_message(properties={"creation_time": Timestamp(2**62)}, data=b""))
    assert view["systemProperties"]["creation-time"] == str(2**62)
