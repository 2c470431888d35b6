"""Calls and their answers (rows D01 to D11, D16)."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.methods.dispatch import CALLS_AT_ONCE_MAX, Handler, Methods
from edgeagent.methods.handlers import GetModuleLogs, GetTaskStatus, RestartModule, ping
from edgeagent.methods.log_parts import LogReader
from edgeagent.methods.tasks import Tasks
from testkit.agent_logs import FakeLogs

LOGS = {
    "edgeHub": [(1, "<6> 2026-08-01 10:00:00.123 +00:00 [INF] - up\n"), (2, "<4> slow\n")],
    "sensor": [(1, "one\n"), (1, "two\n"), (1, "three\n")],
}


def methods(logs: FakeLogs | None = None, timeout_s: float = 5.0) -> Methods:
    logs = logs or FakeLogs(LOGS)
    reader = LogReader(logs, "hub1.example.net", "d1", lambda: 1_700_000_000.0)
    handlers: dict[str, Handler] = {
        "ping": ping,
        "GetTaskStatus": GetTaskStatus(Tasks()),
        "GetModuleLogs": GetModuleLogs(reader),
        "RestartModule": RestartModule(logs),
    }
    return Methods(handlers, timeout_s)


async def call(name: str, payload: Any = None, logs: FakeLogs | None = None) -> tuple[int, Any]:
    content = b"" if payload is None else json.dumps({"schemaVersion": "1.0", **payload}).encode()
    return await methods(logs).answer(name, content)


@pytest.mark.parametrize("name", ["ping", "PING", "Ping"])
async def test_d01_ping_in_any_case(name: str) -> None:
    assert await methods().answer(name, b"") == (200, None)
    assert await methods().answer(name, b"not even json") == (200, None)


@pytest.mark.parametrize("name", ["nothing", "", "DiagnosticEvent"])
async def test_d02_unknown_methods(name: str) -> None:
    status, answer = await call(name, {})
    assert status == 400
    assert answer["message"] == (
        f"Command '{name}' not found. The supported commands are - "
        "ping,GetTaskStatus,GetModuleLogs,RestartModule"
    )


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "Request payload not found"),
        (b"null", "Request payload not found"),
        (b"{", "Error parsing command payload because of error - "),
        (b"\xff", "Error parsing command payload because of error - "),
        (b"[" * 50_000, "Error parsing command payload because of error - "),
        (b"[]", "Error parsing command payload because of error - payload: expected an object"),
        (b"{}", "payload.schemaVersion: is missing"),
        (b" " * 300_000, "bytes of payload; at most"),
    ],
)
async def test_d03_payloads_that_cannot_be_read(payload: bytes, text: str) -> None:
    status, answer = await methods().answer("RestartModule", payload)
    assert status == 400
    assert text in answer["message"]


async def test_d04_a_handler_that_fails_gives_500_with_its_text() -> None:
    logs = FakeLogs(LOGS, fault="no such container")
    assert await call("RestartModule", {"id": "sensor"}, logs) == (500, {"message": "no such container"})


async def test_a_handler_that_takes_too_long() -> None:
    async def slow(payload: Any) -> None:
        await asyncio.Event().wait()

    answer = await Methods({"ping": slow}, 0.01).answer("ping", b"")
    assert answer == (500, {"message": "ping took longer than 0.01 s"})


async def test_too_many_calls_at_once() -> None:
    gate = asyncio.Event()

    async def slow(payload: Any) -> None:
        await gate.wait()

    target = Methods({"ping": slow}, 5)
    calls = [asyncio.create_task(target.answer("ping", b"")) for _ in range(CALLS_AT_ONCE_MAX)]
    await asyncio.sleep(0)
    status, answer = await target.answer("ping", b"")
    assert (status, answer["message"]) == (500, "10 calls are at work; try again later")
    gate.set()
    assert await asyncio.gather(*calls) == [(200, None)] * CALLS_AT_ONCE_MAX
    assert await target.answer("ping", b"") == (200, None)


async def test_d05_restart() -> None:
    logs = FakeLogs(LOGS)
    assert await call("RestartModule", {"id": "sensor"}, logs) == (200, None)
    assert logs.restarted == ["sensor"]
    for name in ("Sensor", "other"):
        status, answer = await call("RestartModule", {"id": name}, logs)
        assert (status, answer["message"]) == (500, f"Module {name} not found in the current environment")


@pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.9", 200), ("2.0", 500), ("x", 500)])
async def test_d06_schema_versions(version: str, status: int) -> None:
    assert (await call("RestartModule", {"schemaVersion": version, "id": "sensor"}))[0] == status


@pytest.mark.parametrize("items", [{"id": "sensor"}, [{"id": "sensor"}]])
async def test_d07_d09_items_as_object_or_array_and_defaults(items: Any) -> None:
    expected = [{"id": "sensor", "payloadBytes": None, "payload": "one\ntwo\nthree\n"}]
    assert await call("GetModuleLogs", {"items": items}) == (200, expected)


async def test_d07_no_items() -> None:
    assert await call("GetModuleLogs", {"items": []}) == (200, [])
    for items in (None, 5, "all"):
        assert (await call("GetModuleLogs", {"items": items}))[0] == 400


@pytest.mark.parametrize(
    ("ids", "modules"),
    [
        (["all"], ["edgeHub", "sensor"]),
        (["ALL"], ["edgeHub", "sensor"]),
        (["EDGE"], ["edgeHub"]),
        (["nobody"], []),
        (["s.*r", "all"], ["sensor", "edgeHub"]),
    ],
)
async def test_d08_ids_are_expressions(ids: list[str], modules: list[str]) -> None:
    _, answer = await call("GetModuleLogs", {"items": [{"id": name} for name in ids]})
    assert [part["id"] for part in answer] == modules


async def test_d08_the_first_item_counts() -> None:
    items = [{"id": "sensor", "filter": {"tail": 1}}, {"id": "all"}]
    _, answer = await call("GetModuleLogs", {"items": items})
    assert answer[0]["payload"] == "three\n"


async def test_d10_gzip() -> None:
    _, answer = await call("GetModuleLogs", {"items": {"id": "sensor"}, "encoding": "GZip"})
    assert answer[0]["payload"] is None
    assert gzip.decompress(base64.b64decode(answer[0]["payloadBytes"])) == b"one\ntwo\nthree\n"


async def test_d11_too_much_for_an_answer() -> None:
    fits = FakeLogs({"a": [(1, "x" * 126_999 + "\n")]})
    assert (await call("GetModuleLogs", {"items": {"id": "all"}}, fits))[0] == 200
    over = FakeLogs({"a": [(1, "x" * 63_500)], "b": [(1, "x" * 63_501)]})
    status, answer = await call("GetModuleLogs", {"items": {"id": "all"}}, over)
    assert status == 400
    assert "127001 bytes" in answer["message"]
    assert "127000" in answer["message"]


async def test_json_lines_carry_their_origin() -> None:
    logs = FakeLogs(LOGS)
    _, answer = await call("GetModuleLogs", {"items": {"id": "edgeHub"}, "contentType": "json"}, logs)
    assert json.loads(answer[0]["payload"]) == [
        {
            "iothub": "hub1.example.net",
            "device": "d1",
            "id": "edgeHub",
            "stream": "stdout",
            "loglevel": 6,
            "text": "[INF] - up",
            "timestamp": "2026-08-01T10:00:00.123Z",
        },
        {
            "iothub": "hub1.example.net",
            "device": "d1",
            "id": "edgeHub",
            "stream": "stderr",
            "loglevel": 4,
            "text": "slow",
            "timestamp": None,
        },
    ]
    assert logs.asked[0][1].timestamps


async def test_windows_go_to_the_engine() -> None:
    logs = FakeLogs(LOGS)
    wanted = {"since": "1h", "until": 1_699_999_999, "tail": 2}
    await call("GetModuleLogs", {"items": {"id": "sensor", "filter": wanted}}, logs)
    window = logs.asked[0][1]
    assert (window.since_s, window.until_s, window.tail) == (1_699_996_400, 1_699_999_999, 2)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"items": {"id": " "}}, 400),
        ({"items": {"id": "("}}, 400),
        ({"items": {"id": "a" * 1025}}, 400),
        ({"items": [{"id": "all"}] * 101}, 400),
        ({"items": {"id": "all", "filter": {"regex": "*"}}}, 400),
        ({"items": {"id": "all", "filter": {"tail": "x"}}}, 400),
        ({"items": {"id": "all", "filter": {"tail": -1}}}, 400),
        ({"items": {"id": "all", "filter": {"tail": True}}}, 400),
        ({"items": {"id": "all", "filter": []}}, 400),
        ({"items": {"id": "all", "filter": {"since": "yesterday"}}}, 500),
        ({"items": {"id": "all"}, "encoding": "zip"}, 400),
        ({"items": {"id": "all"}, "contentType": "xml"}, 400),
        ({"items": {"id": "all"}, "encoding": 5}, 400),
    ],
)
async def test_requests_that_cannot_be_served(change: dict[str, Any], status: int) -> None:
    found, answer = await call("GetModuleLogs", change)
    assert found == status
    assert answer["message"]


async def test_d16_a_task_that_nobody_knows() -> None:
    expected = {"status": "Unknown", "message": "", "correlationId": "x"}
    assert await call("GetTaskStatus", {"correlationId": "x"}) == (200, expected)


@given(st.text(max_size=20), st.binary(max_size=60))
async def test_any_call_has_an_answer(name: str, payload: bytes) -> None:
    for method in (name, "GetModuleLogs", "RestartModule", "GetTaskStatus"):
        status, _ = await methods().answer(method, payload)
        assert status in (200, 400, 500)
