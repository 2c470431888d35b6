"""The agent's side, against a service that answers what no service should."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from edgeagent import __version__
from edgeagent.workload import client as client_module
from edgeagent.workload.answers import KeyPair, SealedData
from edgeagent.workload.client import WorkloadControl
from edgeagent.workload.errors import EXIT_FAILED, EXIT_TAKEN, ControlError
from edgeagent.workload.http import Answer, Request
from edgeagent.workload.server import UnixHttpServer
from edgeagent.workload.settings import WorkloadSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Fake:
    """A service under the control of a test."""

    def __init__(self, settings: WorkloadSettings) -> None:
        self.answer = Answer(200, {})
        self.asked: list[Request] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.server = UnixHttpServer(
            settings.control_socket, self._answer, mode=0o600, connections_max=5, body_bytes_max=10_000
        )

    async def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        await self.gate.wait()
        return self.answer


def state_of(of: WorkloadSettings, **changes: Any) -> dict[str, Any]:
    ca = dict.fromkeys(("kind", "commonName", "fingerprint", "notBefore", "notAfter"), "x")
    state = {
        "version": __version__,
        "pid": 1,
        "detached": True,
        "settings": of.digest,
        "modules": 0,
        "renewals": 0,
        "restartDue": False,
        "ca": {**ca, "warning": None},
    }
    return {**state, **changes}


@pytest.fixture
def settings(tmp_path: Path) -> WorkloadSettings:
    return WorkloadSettings(tmp_path, "hub.test", "dev1")


@pytest.fixture
async def fake(settings: WorkloadSettings) -> AsyncIterator[Fake]:
    fake = Fake(settings)
    await fake.server.start()
    yield fake
    fake.gate.set()
    await fake.server.close()


@pytest.fixture
def control(settings: WorkloadSettings) -> WorkloadControl:
    return WorkloadControl(settings)


async def test_names_are_quoted(fake: Fake, control: WorkloadControl) -> None:
    fake.answer = Answer(200, {"moduleId": "$edgeHub", "generationId": "1", "folder": "/f"})
    assert (await control.register("$edgeHub")).folder == Path("/f")
    await control.unregister("a/b")
    assert [request.target for request in fake.asked] == ["/modules/%24edgeHub", "/modules/a%2Fb"]


async def test_errors_carry_status_and_text(fake: Fake, control: WorkloadControl) -> None:
    fake.answer = Answer(400, {"message": "no such thing"})
    with pytest.raises(ControlError, match=r"PUT /modules/m1: no such thing \(400\)") as failed:
        await control.register("m1")
    assert failed.value.status == 400
    fake.answer = Answer(500, ["?"])
    with pytest.raises(ControlError, match="an error without a message"):
        await control.state()


@pytest.mark.parametrize("content", [None, [], {}, {"modules": 1}, {"modules": [{}]}, {"data": 1}])
async def test_answers_of_another_shape(fake: Fake, control: WorkloadControl, content: Any) -> None:
    fake.answer = Answer(200, content)
    for call in (control.state(), control.modules(), control.seal(b"", "x"), control.module_keys("m", "1")):
        with pytest.raises(ControlError):
            await call


async def test_data_that_is_not_base64(fake: Fake, control: WorkloadControl) -> None:
    fake.answer = Answer(200, {"data": "?"})
    with pytest.raises(ControlError, match="not base64"):
        await control.seal(b"", "x")


async def test_an_answer_beyond_the_limit(
    fake: Fake, control: WorkloadControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_BYTES_MAX", 100)
    fake.answer = Answer(200, {"data": "x" * 100})
    with pytest.raises(ControlError, match="answered more than 100 bytes"):
        await control.state()


async def test_a_service_that_does_not_answer(
    fake: Fake, control: WorkloadControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.gate.clear()
    with patch.object(WorkloadControl._call, "__defaults__", (None, 0.01)), pytest.raises(ControlError):
        await control.unregister("m1")
    monkeypatch.setattr(client_module, "START_WAIT_S", 0.01)
    fake.gate.set()
    fake.answer = Answer(200, state_of(control._settings))
    with pytest.raises(ControlError, match=r"does not stop within 0\.01 s"):
        await control.stop()


async def test_nobody_listens(control: WorkloadControl) -> None:
    with pytest.raises(ControlError, match="nobody listens on") as failed:
        await control.state()
    assert failed.value.status is None


async def test_a_service_that_is_current_stays(
    fake: Fake, control: WorkloadControl, settings: WorkloadSettings
) -> None:
    fake.answer = Answer(200, state_of(settings))
    assert (await control.ensure_running()).pid == 1
    assert {request.target for request in fake.asked} == {"/state"}


@pytest.mark.parametrize("changes", [{"version": "0.0.1"}, {"settings": "others"}])
async def test_one_that_no_agent_started_stays(
    fake: Fake,
    control: WorkloadControl,
    settings: WorkloadSettings,
    changes: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning comes once, however often the agent looks."""
    fake.answer = Answer(200, state_of(settings, detached=False, **changes))
    for _ in range(3):
        assert (await control.ensure_running()).pid == 1
    assert caplog.text.count("restart its unit") == 1


async def test_another_version_with_another_state_is_replaced(
    fake: Fake, control: WorkloadControl, settings: WorkloadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who serves has to be understood."""
    monkeypatch.setattr(client_module, "CHECK_S", 0)
    old = {"version": "0.0.1", "pid": 7, "detached": True, "settings": "x", "ca": "of another shape"}
    fake.answer = Answer(200, old)
    second = Fake(settings)
    second.answer = Answer(200, state_of(settings, pid=8))

    async def stop() -> None:
        await fake.server.close()
        await second.server.start()

    with patch.object(control, "stop", stop):
        assert (await control.ensure_running()).pid == 8
    await second.server.close()


async def test_a_service_that_closes_connections_while_it_stops(
    fake: Fake, control: WorkloadControl, settings: WorkloadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again until nobody listens."""
    monkeypatch.setattr(client_module, "CHECK_S", 0)
    fake.answer = Answer(200, state_of(settings))
    found = iter([ControlError("closed"), ControlError("closed"), None])

    async def running() -> None:
        if error := next(found):
            raise error

    with patch.object(control, "_running", running):
        await control.stop()
    assert next(found, "all were asked") == "all were asked"


class Process:
    """A process that ends at once or never."""

    pid = 7

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.ended = False

    def end(self) -> None:
        self.ended = True

    def poll(self) -> int | None:
        return self.code


async def test_a_process_that_fails(control: WorkloadControl) -> None:
    with patch("edgeagent.workload.client.launch", return_value=Process(EXIT_FAILED)) as launched:
        for _ in range(2):
            with pytest.raises(ControlError, match=r"ended with exit code 1; .*workload\.log says why"):
                await control.ensure_running()
    assert launched.call_count == 2


async def test_a_process_that_never_gets_ready(
    control: WorkloadControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started once; the next attempt waits for the same one."""
    monkeypatch.setattr(client_module, "START_WAIT_S", 0.05)
    monkeypatch.setattr(client_module, "CHECK_S", 0)
    with patch("edgeagent.workload.client.launch", return_value=Process(None)) as launched:
        for _ in range(2):
            with pytest.raises(ControlError, match="does not get ready within"):
                await control.ensure_running()
    assert launched.call_count == 1


async def test_a_folder_that_is_taken_by_one_that_ends(
    control: WorkloadControl, settings: WorkloadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again until one serves."""
    monkeypatch.setattr(client_module, "CHECK_S", 0)
    fake = Fake(settings)
    fake.answer = Answer(200, state_of(settings))
    last = Process(None)
    processes = [Process(EXIT_TAKEN), Process(EXIT_TAKEN), last]
    serving: list[asyncio.Task[None]] = []

    def launched(_: WorkloadSettings) -> Process:
        process = processes.pop(0)
        if not processes:
            serving.append(asyncio.create_task(fake.server.start()))
        return process

    with patch("edgeagent.workload.client.launch", launched):
        assert (await control.ensure_running()).pid == 1
    assert not processes
    assert last.ended, "another process serves: this one must not wait for its end"
    await fake.server.close()


async def test_one_that_was_killed_is_started_again(
    control: WorkloadControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How an earlier process ended is no reason not to start the next, also when it is seen late."""
    monkeypatch.setattr(client_module, "START_WAIT_S", 0.05)
    monkeypatch.setattr(client_module, "CHECK_S", 0)
    first = Process(None)
    with (
        patch("edgeagent.workload.client.launch", return_value=first),
        pytest.raises(ControlError, match="does not get ready"),
    ):
        await control.ensure_running()
    seen = iter([None, -9])
    with (
        patch.object(first, "poll", lambda: next(seen)),
        patch("edgeagent.workload.client.launch", return_value=Process(EXIT_FAILED)) as launched,
        pytest.raises(ControlError, match="exit code 1"),
    ):
        await control.ensure_running()
    assert launched.call_count == 1


def test_the_agent_loads_nothing_that_the_service_needs_alone() -> None:
    program = "import sys, edgeagent.workload.client; print(*sys.modules)"
    paths = os.pathsep.join(filter(None, sys.path))
    found = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    loaded = set(found.stdout.split())
    assert "edgeagent.workload.client" in loaded
    assert not loaded & {"cryptography", "argparse", "edgeagent.workload.service", "edgeagent.workload.keys"}


def test_secrets_are_in_no_text() -> None:
    assert "abc" not in repr(KeyPair("abc", "abc")) + repr(SealedData("abc"))
