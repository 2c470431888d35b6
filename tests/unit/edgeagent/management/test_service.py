"""The management API on its socket, beside a fake engine (agent spec 7.4)."""

from __future__ import annotations

import asyncio
import io
import json
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import aiohttp
import pytest

from edgeagent import __version__
from edgeagent.errors import AgentError
from edgeagent.identity.model import ModuleIdentity
from edgeagent.management.docker_view import DockerView
from edgeagent.management.ports import BundleWanted
from edgeagent.management.service import ManagementParts, ManagementService
from edgeagent.model.current import RuntimeStatus
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from testkit.fake_engine import Fault, running_engine
from testkit.raw_http import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from testkit.fake_engine import FakeEngine

OURS = {labels.OWNER: labels.OWNER_VALUE, labels.ORIGINAL_IMAGE: "reg.example.net/x:1"}
NOW_MS = 1_700_000_000_123
WAIT_S = 20


@dataclass
class FakeBundles:
    asked: list[BundleWanted] = field(default_factory=list)
    files: list[BinaryIO] = field(default_factory=list)
    fault: AgentError | None = None

    async def make(self, wanted: BundleWanted) -> BinaryIO:
        self.asked.append(wanted)
        if self.fault is not None:
            raise self.fault
        self.files.append(io.BytesIO(b"zip" * 100_000))
        return self.files[-1]


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with running_engine(lambda: NOW_MS) as fake:
        fake.state.add_image("x:1")
        yield fake


@pytest.fixture
def bundles() -> FakeBundles:
    return FakeBundles()


@pytest.fixture
async def path(fake: FakeEngine, bundles: FakeBundles, tmp_path: Path) -> AsyncIterator[Path]:
    async def identities() -> list[ModuleIdentity]:
        return [ModuleIdentity("$edgeHub", "637", "IotEdge"), ModuleIdentity("m", "1", "other")]

    async with Engine(fake.address) as engine:
        parts = ManagementParts(
            DockerView(engine),
            bundles,
            identities,
            statuses=lambda: {"sick": RuntimeStatus.BACKOFF},
            now_s=lambda: NOW_MS / 1000,
        )
        service = ManagementService(tmp_path / "run" / "mgmt.sock", parts)
        await service.start()
        yield tmp_path / "run" / "mgmt.sock"
        await service.close()


@pytest.fixture
async def session(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield session


def add(fake: FakeEngine, name: str, **members: Any) -> None:
    fake.state.start(fake.state.create(name, {"Image": "x:1", "Labels": OURS} | members))


async def ask(session: aiohttp.ClientSession, verb: str, target: str) -> tuple[int, Any]:
    mark = "&" if "?" in target else "?"
    url = f"http://x{target}{mark}api-version=2022-08-03"
    async with session.request(verb, url) as response:
        body = await response.read()
    return response.status, json.loads(body) if body else None


async def test_modules(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    add(fake, "sick")
    fake.state.exit("sick", 137)
    fake.state.add_foreign("other")
    status, content = await ask(session, "GET", "/modules")
    assert status == 200
    sensor, sick = content["modules"]
    image_id = fake.state.images["x:1"]
    assert sensor == {
        "id": "id",
        "name": "sensor",
        "type": "docker",
        "config": {
            "settings": {
                "image": "reg.example.net/x:1",
                "imageHash": image_id,
                "createOptions": {"Labels": OURS},
            },
            "env": [],
        },
        "status": {
            "startTime": "2023-11-14T22:13:20.123+00:00",
            "runtimeStatus": {"status": "running"},
        },
    }
    assert sick["status"]["exitStatus"] == {
        "exitTime": "2023-11-14T22:13:20.123+00:00",
        "statusCode": "137",
    }
    assert sick["status"]["runtimeStatus"] == {"status": "backoff"}


async def test_one_module(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    assert (await ask(session, "GET", "/modules/sensor"))[1]["name"] == "sensor"
    assert await ask(session, "GET", "/modules/none") == (404, {"message": "No such container: none"})


async def test_w19_start_stop_restart_answer_204(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    assert await ask(session, "POST", "/modules/sensor/stop") == (204, None)
    assert fake.state.by_name("sensor").state == "exited"
    assert await ask(session, "POST", "/modules/sensor/start") == (204, None)
    assert await ask(session, "POST", "/modules/sensor/restart") == (204, None)
    assert fake.state.by_name("sensor").starts == 3
    assert (await ask(session, "GET", "/modules"))[1]["modules"][0]["status"]["runtimeStatus"] == {
        "status": "running"
    }


async def test_w20_create_is_forbidden(session: aiohttp.ClientSession) -> None:
    status, content = await ask(session, "POST", "/modules")
    assert status == 403
    assert content["message"].startswith("forbidden")


async def test_w23_the_engines_status_is_passed_on(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    assert await ask(session, "POST", "/modules/none/start") == (
        404,
        {"message": "No such container: none"},
    )
    assert (await ask(session, "GET", "/modules/none/logs"))[0] == 404
    fake.faults.append(Fault("POST", ".*/start", status=409, message="is busy"))
    assert await ask(session, "POST", "/modules/sensor/start") == (409, {"message": "is busy"})


async def test_containers_of_others_are_not_there(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    fake.state.add_foreign("other")
    for verb, target in (("POST", "/modules/other/stop"), ("GET", "/modules/other/logs")):
        assert (await ask(session, verb, target))[0] == 404
    assert fake.state.by_name("other").runs


async def test_an_engine_that_is_away_is_500(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    await fake.stop()
    status, content = await ask(session, "GET", "/modules")
    assert status == 500
    assert "the container engine at" in content["message"]


async def test_the_machine_without_an_engine(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    """The agent answers, and its answer says nothing of the engine."""
    await fake.stop()
    status, content = await ask(session, "GET", "/systeminfo")
    assert (status, content["version"], "server_version" in content) == (200, __version__, False)
    status, content = await ask(session, "GET", "/systeminfo/resources")
    assert (status, content["docker_stats"]) == (200, "[]")


async def test_logs_as_frames(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    fake.state.write("sensor", b"one\n")
    fake.state.write("sensor", b"two\n", stream=2)
    url = "http://x/modules/sensor/logs?api-version=2020-07-07&tail=all"
    async with session.get(url) as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        assert await response.read() == b"\1\0\0\0\0\0\0\4one\n\2\0\0\0\0\0\0\4two\n"


async def test_logs_that_are_followed_end_with_the_client(
    fake: FakeEngine, session: aiohttp.ClientSession
) -> None:
    """And an engine's log is not read on for nobody."""
    add(fake, "sensor")
    url = "http://x/modules/sensor/logs?api-version=2020-07-07&follow=true"
    async with asyncio.timeout(WAIT_S):
        async with session.get(url) as response:
            fake.state.write("sensor", b"one\n")
            assert (await response.content.readexactly(12))[8:] == b"one\n"
            fake.state.write("sensor", b"two\n")
            assert (await response.content.readexactly(12))[8:] == b"two\n"
            response.close()
        for _ in range(100):
            container = fake.state.by_name("sensor")
            fake.state.write("sensor", b"more\n")
            await asyncio.sleep(0.01)
            if _open_logs(fake) == 0:
                break
        assert _open_logs(fake) == 0
        assert container.runs


def _open_logs(fake: FakeEngine) -> int:
    server = fake._runner.server if fake._runner is not None else None
    return 0 if server is None else len(list(server.connections))


async def test_identities(session: aiohttp.ClientSession) -> None:
    """Row W24."""
    _, content = await ask(session, "GET", "/identities/")
    assert content["identities"][0] == {
        "moduleId": "$edgeHub",
        "managedBy": "iotedge",
        "generationId": "637",
        "authType": "sas",
    }
    assert content["identities"][1]["managedBy"] == "iotedge"


async def test_the_machine(session: aiohttp.ClientSession) -> None:
    _, content = await ask(session, "GET", "/systeminfo")
    assert content["osType"] == "Linux"
    assert (content["cpus"], content["total_memory"], content["server_version"]) == (2, 4096, "20.10.0")
    assert content["version"] == __version__
    assert content["provisioning"] == {
        "type": "manual",
        "dynamicReprovisioning": False,
        "alwaysReprovisionOnStartup": False,
    }


async def test_what_modules_take_of_it(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    add(fake, "sensor")
    add(fake, "ended")
    fake.state.exit("ended")
    _, content = await ask(session, "GET", "/systeminfo/resources")
    assert content["total_ram"] > 0
    (sample,) = json.loads(content["docker_stats"])
    assert (sample["name"], sample["pids_stats"]) == ("/sensor", {"current": 3})


async def test_a_support_bundle(session: aiohttp.ClientSession, bundles: FakeBundles) -> None:
    url = "http://x/systeminfo/supportbundle?api-version=2020-07-07&edge_runtime_only=true"
    async with session.get(url) as response:
        assert response.content_type == "application/zip"
        assert await response.read() == b"zip" * 100_000
    assert bundles.asked == [BundleWanted(runtime_only=True)]
    assert bundles.files[0].closed
    bundles.fault = AgentError("the disk is full")
    assert await ask(session, "GET", "/systeminfo/supportbundle") == (500, {"message": "the disk is full"})


async def test_the_agent_does_not_stop_itself(fake: FakeEngine, session: aiohttp.ClientSession) -> None:
    assert (await ask(session, "POST", "/modules/edgeAgent/restart"))[0] == 409
    add(fake, "edgeAgent")
    status, content = await ask(session, "POST", "/modules/edgeAgent/stop")
    assert status == 409
    assert "use restart" in content["message"]
    assert await ask(session, "POST", "/modules/edgeAgent/restart") == (204, None)
    async with asyncio.timeout(WAIT_S):
        await fake.received("POST", "/containers/[^/]+/restart")


def test_the_socket_is_not_for_everybody(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_the_socket_goes_with_the_service(fake: FakeEngine, tmp_path: Path) -> None:
    async with Engine(fake.address) as engine:
        service = ManagementService(tmp_path / "m.sock", ManagementParts(DockerView(engine), FakeBundles()))
        await service.start()
        assert (tmp_path / "m.sock").is_socket()
        await service.close()
        assert not (tmp_path / "m.sock").exists()


async def test_a_socket_that_was_taken_away_is_made_again(fake: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    async with Engine(fake.address) as engine:
        service = ManagementService(path, ManagementParts(DockerView(engine), FakeBundles()))
        await service.start()
        assert not await service.ensure_socket()
        path.unlink()
        assert await service.ensure_socket()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            assert (await ask(session, "GET", "/modules"))[0] == 200
        path.unlink()
        path.write_text("of another")
        await service.close()
        assert path.exists()


async def test_connections_beyond_the_limit_are_closed(fake: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    async with Engine(fake.address) as engine:
        parts = ManagementParts(DockerView(engine), FakeBundles())
        service = ManagementService(path, parts, connections_max=1)
        await service.start()
        first = await Raw.open(path)
        first.send("GET", "/modules?api-version=2020-07-07")
        assert (await first.answer())[0] == 200
        beyond = await Raw.open(path)
        assert await beyond.ended()
        await first.close()
        await beyond.close()
        await service.close()
