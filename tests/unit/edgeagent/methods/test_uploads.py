"""Uploads of logs and support bundles (rows D15 to D18)."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.methods.errors import BadCallError, MethodError
from edgeagent.methods.log_parts import LogReader
from edgeagent.methods.log_request import LogRequest
from edgeagent.methods.tasks import TASKS_AT_WORK_MAX, TASKS_KEPT_MAX, Tasks
from edgeagent.methods.uploads import (
    Uploader,
    UploadModuleLogs,
    UploadSupportBundle,
    blob_name,
    blob_url,
    container_url,
)
from testkit.agent_logs import FakeLogs

if TYPE_CHECKING:
    from collections.abc import Coroutine

PLACE = ("hub1.example.net", "d1")
URL = "https://blobs.example.net/logs?sig=secret%2F7731&se=2030"


class Blobs:
    """A blob store in memory. :ivar faults: how often it refuses."""

    def __init__(self, faults: int = 0) -> None:
        self.faults = faults
        self.puts: list[tuple[str, bytes, dict[str, str]]] = []
        self.pauses: list[float] = []

    async def put(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        if self.faults:
            self.faults -= 1
            raise MethodError("403 from blobs.example.net")
        self.puts.append((url, body, headers))

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    @property
    def uploader(self) -> Uploader:
        return Uploader(self.put, self.sleep)


def _upload_logs(blobs: Blobs, tasks: Tasks) -> UploadModuleLogs:
    logs = FakeLogs({"a": [(1, "one\n")], "b": [(1, "two\n")]})
    reader = LogReader(logs, *PLACE, lambda: 1_700_000_000.0)
    return UploadModuleLogs(reader, blobs.uploader, tasks, PLACE, None)


async def _ended(tasks: Tasks, correlation_id: str) -> dict[str, str]:
    for _ in range(500):
        status = tasks.status(correlation_id)
        if status["status"] != "Running":
            return status
        await asyncio.sleep(0.001)
    raise AssertionError("the task does not end")


def _request(**more: Any) -> dict[str, Any]:
    return {"schemaVersion": "1.0", "sasUrl": URL, "items": {"id": "all"}, **more}


async def test_d15_answers_at_once_and_completes_later() -> None:
    blobs, tasks = Blobs(), Tasks()
    answer = await _upload_logs(blobs, tasks)(_request(encoding="gzip"))
    assert answer["status"] == "Running"
    assert (await _ended(tasks, answer["correlationId"]))["status"] == "Completed"
    assert sorted(gzip.decompress(body) for _, body, _ in blobs.puts) == [b"one\n", b"two\n"]
    url, _, headers = blobs.puts[0]
    assert url.startswith("https://blobs.example.net/logs/hub1.example.net/d1/a-2")
    assert url.endswith(".log.gz?sig=secret%2F7731&se=2030")
    assert headers == {
        "x-ms-blob-type": "BlockBlob",
        "Content-Type": "text/plain",
        "Content-Encoding": "gzip",
    }


async def test_d15_a_store_that_fails_twice_gets_it_the_third_time() -> None:
    blobs, tasks = Blobs(2), Tasks()
    answer = await _upload_logs(blobs, tasks)(_request(items={"id": "a"}))
    assert (await _ended(tasks, answer["correlationId"]))["status"] == "Completed"
    assert blobs.pauses == [5.0, 20.0]


async def test_d17_a_failed_upload_tells_why_without_the_secret() -> None:
    blobs, tasks = Blobs(100), Tasks()
    answer = await _upload_logs(blobs, tasks)(_request())
    status = await _ended(tasks, answer["correlationId"])
    assert status["status"] == "Failed"
    assert status["message"] == "Task upload logs failed because of error 403 from blobs.example.net"


async def test_bundles() -> None:
    asked: list[Any] = []

    async def bundle(since: str | None, until: str | None, runtime_only: bool) -> bytes:
        asked.append((since, until, runtime_only))
        return b"PK"

    blobs, tasks = Blobs(), Tasks()
    method = UploadSupportBundle(bundle, blobs.uploader, tasks, PLACE, None)
    request = {"schemaVersion": "9", "sasUrl": URL, "since": "2d", "until": "1d", "edgeRuntimeOnly": True}
    answer = await method(request)
    assert (await _ended(tasks, answer["correlationId"]))["status"] == "Completed"
    assert asked == [("2d", "1d", True)]
    url, body, headers = blobs.puts[0]
    assert "/hub1.example.net/d1/support-bundle-" in url
    assert body == b"PK"
    assert (headers["Content-Type"], headers["Content-Encoding"]) == ("application/zip", "zip")


@pytest.mark.parametrize(
    ("as_json", "packed", "ending"),
    [(False, False, "log"), (True, False, "json"), (False, True, "log.gz"), (True, True, "json.gz")],
)
def test_d18_names_of_blobs(as_json: bool, packed: bool, ending: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    name = blob_name(*PLACE, "sensor", now, LogRequest((), gzip=packed, as_json=as_json))
    assert name == f"hub1.example.net/d1/sensor-2026-01-02--03-04-05.{ending}"


def test_urls_of_blobs_and_containers() -> None:
    assert blob_url(URL, "a b/c") == "https://blobs.example.net/logs/a%20b/c?sig=secret%2F7731&se=2030"
    assert container_url("https://$upstream:8000/logs?x=1", "gw") == "https://gw:8000/logs?x=1"
    for bad in ("", "ftp://x/y", "https://", "logs", "https://$upstream/logs", "https://[::1/x", "h" * 5000):
        with pytest.raises(BadCallError, match="sasUrl: "):
            container_url(bad, "gw")


async def _nothing() -> None:
    """Work that ends at once."""


async def test_tasks_are_bounded() -> None:
    tasks, gate = Tasks(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()

    works: list[Coroutine[Any, Any, None]] = [slow() for _ in range(TASKS_AT_WORK_MAX)]
    first = [tasks.begin("upload logs", work)["correlationId"] for work in works]
    with pytest.raises(MethodError, match="5 tasks are at work already"):
        tasks.begin("upload logs", _nothing())
    gate.set()
    for _ in range(TASKS_KEPT_MAX):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.begin("upload logs", _nothing())
    assert all(tasks.status(key)["status"] == "Unknown" for key in first)


async def test_tasks_that_are_stopped_are_cancelled() -> None:
    tasks = Tasks()
    key = tasks.begin("upload logs", asyncio.Event().wait())["correlationId"]  # type: ignore[arg-type]
    await tasks.stop()
    assert tasks.status(key)["status"] == "Cancelled"
